"""Build the site with warnings as errors, and check its links and that every public name has an
entry.
"""

import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from docs_pages import DOCS, ROOT
from embstore_cli.main import EXAMPLES, app, example_of
from explorer_page import CHROMIUM, launch, violations
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
OUTSIDE_THE_SITE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_LINK = re.compile(r"(?<!`)\[[^\]]+\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


class _Page(HTMLParser):
    """The anchors and links of a page of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.links.append(value)


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
def pages(site):
    """Return the anchors and links of every page by its path within the site."""
    return {
        path.relative_to(site).as_posix(): _Page(path.read_text("utf-8"))
        for path in site.rglob("*.html")
        if path.name != "404.html"
    }


def _is_external(link: str) -> bool:
    return re.match(r"[a-z]+:", link) is not None


def _broken(site: Path, pages: dict[str, _Page]) -> list[str]:
    """Return the internal links that lead to no file or to no anchor of the page, and malformed
    external ones.
    """
    found = []
    for name, page in pages.items():
        for link in page.links:
            if _is_external(link):
                found += [] if _is_well_formed(link) else [f"{name}: {link}"]
                continue
            address, anchor = urldefrag(urljoin(f"/{name}", link))
            path = unquote(address).lstrip("/")
            path = f"{path}index.html" if path.endswith("/") or not path else path
            target = pages.get(path)
            if not (site / path).is_file() or (
                anchor and target and unquote(anchor) not in target.anchors
            ):
                found.append(f"{name}: {link}")
    return found


def _is_well_formed(link: str) -> bool:
    """Return whether an external link is HTTPS with a host name; if to a file of this repository,
    whether it exists.

    External pages are not requested: tests have no network.
    """
    parts = urlsplit(link)
    if (
        parts.scheme != "https"
        or not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc)
        or re.search(r"[\s<>…]", link)
    ):
        return False
    path = re.match(rf"{REPOSITORY}/(?:blob|tree)/main/([^#?]+)", link)
    return path is None or (ROOT / unquote(path[1])).exists()


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
            page.route(
                re.compile(f"^(?!{server.url})"), lambda route: route.abort()
            )  # fonts, which are elsewhere
            for path in ("", "how-to/plot/", "how-to/sql/", "reference/metrics/"):
                page.goto(f"{server.url}/{path}index.html")
                assert violations(page) == [], (path, width, scheme)


def test_no_link_of_the_site_is_broken(site, pages):
    assert _broken(site, pages) == []


@pytest.mark.parametrize("name", OUTSIDE_THE_SITE)
def test_no_link_of_a_page_outside_the_site_is_broken(pages, name):
    links = [first or second for first, second in _LINK.findall((ROOT / name).read_text("utf-8"))]
    assert links
    for link in links:
        if _is_external(link):
            assert _is_well_formed(link), link
            continue
        path, anchor = urldefrag(link)
        assert (ROOT / path).is_file(), link
        page = path.removeprefix("docs/").removesuffix(".md").removesuffix("index")
        assert not anchor or anchor in pages[f"{page}/index.html".lstrip("/")].anchors, link


def test_the_link_checker_finds_what_is_broken(tmp_path):
    texts = {
        "index.html": (
            '<h1 id="top"></h1><a href="a/">a</a><a href="a/#no">b</a><a href="#top">c</a><img'
            ' src="x.svg">'
        ),
        "a/index.html": (
            '<a href="..">up</a><a href="../b/">b</a><a href="https://a.org/b">c</a><a'
            ' href="http://a.org">d</a><a href="https://a">e</a><a'
            f' href="{REPOSITORY}/blob/main/no.md">f</a><a href="{REPOSITORY}/issues">g</a>'
        ),
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    found = _broken(tmp_path, {name: _Page(text) for name, text in texts.items()})
    assert found == [
        "index.html: a/#no",
        "index.html: x.svg",
        "a/index.html: ../b/",
        "a/index.html: http://a.org",
        "a/index.html: https://a",
        f"a/index.html: {REPOSITORY}/blob/main/no.md",
    ]


def test_the_pages_that_help_names_are_at_the_addresses_of_the_site(pages):
    """A wheel comes without the pages: the last line of ``--help`` is the address of a published
    one.
    """
    address = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["site_url"]
    assert (
        tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"][
            "Documentation"
        ]
        == address
    )
    for name in [*EXAMPLES, *(f"query {metric}" for metric in METRICS)]:
        metric = name.partition(" ")[2]
        example = example_of(name, METRICS[metric].needs if metric in METRICS else "")
        assert example is not None
        assert example.url.startswith(f"{address}latest/"), name
        assert f"{example.url.removeprefix(f'{address}latest/')}index.html" in pages, name


def test_every_page_of_the_sources_is_in_the_navigation(site, pages):
    home = {urljoin("/", link) for link in pages["index.html"].links}
    missing = [
        name
        for name in pages
        if name != "index.html" and f"/{name.removesuffix('index.html')}" not in home
    ]
    assert missing == []


def _public(kind: type) -> list[str]:
    return [name for name, _ in inspect.getmembers(kind) if not name.startswith("_")]


def _names() -> list[str]:
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


def test_every_public_name_every_metric_and_every_command_has_an_entry(pages):
    anchors = pages["reference/python/index.html"].anchors
    assert [name for name in _names() if name not in anchors] == []
    assert set(METRICS) <= pages["reference/metrics/index.html"].anchors
    group = get_command(app)
    shown = [name for name in group.list_commands(None) if not group.get_command(None, name).hidden]
    assert {f"embstore-{name}" for name in shown} <= pages["reference/cli/index.html"].anchors
