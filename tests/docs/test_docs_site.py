"""Build the site with warnings as errors, and check that every public name has an entry."""

import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from urllib.parse import urldefrag

import pytest
from docs_pages import DOCS, ROOT, pages
from embstore_cli.main import COMMANDS, app, load
from explorer_page import CHROMIUM, launch, violations
from hanging import HUNG_SECONDS
from typer.main import get_command
from web_server import serving

import embstore
from embstore import Store, errors
from embstore import metrics as metrics_package
from embstore.metrics import METRICS

pytest.importorskip("zensical")

sys.path.insert(0, str(DOCS))
import _python_reference

pytestmark = pytest.mark.docs

REPOSITORY = "https://github.com/embstore/embstore"
OUTSIDE_THE_SITE = [
    ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
]
_LINK = re.compile(r"(?<!`)\[[^\]]+\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site from a copy of its sources."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def anchors(site):
    """Return the anchors of every page by its path within the site."""
    return {
        path.relative_to(site).as_posix(): {
            *re.findall(r'\bid="?([^"\s>]+)', path.read_text("utf-8"))
        }
        for path in site.rglob("index.html")
    }


def test_pages_are_accessible(site):
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="the browser is driven by playwright (extra dev)"
    )
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with (
        serving(site) as server,
        sync_api.sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        for width, scheme in ((1200, "dark"), (400, "light")):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.set_default_timeout(HUNG_SECONDS * 1000)
            # Fonts, which are elsewhere.
            page.route(re.compile(f"^(?!{server.url})"), lambda route: route.abort())
            for path in ("", "how-to/plot/", "how-to/sql/", "reference/metrics/"):
                page.goto(f"{server.url}/{path}index.html")
                assert violations(page) == [], (path, width, scheme)


@pytest.mark.parametrize("path", [*pages(), *OUTSIDE_THE_SITE], ids=lambda path: path.name)
def test_external_links_have_a_host_and_those_to_this_repository_a_file(path):
    """Tests have no network. Links within the site are checked by zensical, whose warnings are
    errors.
    """
    for link in map("".join, _LINK.findall(path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            assert re.match(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[^\s<>…]*)?$", link), link
            if found := re.match(rf"{REPOSITORY}/(?:blob|tree)/main/([^#?]+)", link):
                assert (ROOT / found[1]).exists(), link


@pytest.mark.parametrize("path", OUTSIDE_THE_SITE, ids=lambda path: path.name)
def test_links_of_pages_outside_the_site_lead_to_a_file_and_its_anchor(anchors, path):
    for link in map("".join, _LINK.findall(path.read_text("utf-8"))):
        if not re.match(r"[a-z]+:", link):
            name, anchor = urldefrag(link)
            assert (ROOT / name).is_file(), link
            page = name.removeprefix("docs/").removesuffix(".md").removesuffix("index")
            assert not anchor or anchor in anchors[f"{page}/index.html".lstrip("/")], link


def test_the_pages_that_help_names_are_in_the_repository_at_the_tag_of_the_version():
    """A wheel comes without the pages: the last line of ``--help`` is the address of one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    address = f"{project['urls']['Repository']}/blob/v{project['version']}/"
    commands = [app, *(load(name) for panel in COMMANDS.values() for name in panel)]
    commands += [inner for group in commands for inner in getattr(group, "commands", {}).values()]
    for command in commands:
        url = (command.info if command is app else command).epilog.rpartition("More in ")[2]
        assert url.startswith(f"{address}docs/"), url
        assert (ROOT / url.removeprefix(address)).is_file(), url


def test_every_page_of_the_sources_is_in_the_navigation():
    nav = (ROOT / "zensical.toml").read_text("utf-8")
    assert {*re.findall(r'"([^"]+\.md)"', nav)} == {
        path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")
    }


def _public(kind):
    return [name for name, _ in inspect.getmembers(kind) if not name.startswith("_")]


def _names():
    """Return the full names that users may import or call."""
    own = [name for name in _public(Store) if name not in _python_reference.INTERNAL]
    raised = [
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    ]
    return [
        *(
            f"embstore.{name}"
            for name in embstore.__all__
            if name not in ("__version__", "EmbstoreError")
        ),
        *(f"embstore.Store.{name}" for name in own),
        *(f"embstore.metrics.{name}" for name in metrics_package.__all__),
        *(f"embstore.base.errors.{name}" for name in raised),
    ]


def test_every_public_name_every_metric_and_every_command_has_an_entry(anchors):
    assert {*_names()} - anchors["reference/python/index.html"] == set()
    assert set(METRICS) <= anchors["reference/metrics/index.html"]
    group = get_command(app)
    shown = [name for name in group.list_commands(None) if not group.get_command(None, name).hidden]
    assert {f"embstore-{name}" for name in shown} <= anchors["reference/cli/index.html"]
