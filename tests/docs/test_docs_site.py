"""Build the site with warnings as errors, and check its links and that every public name has an entry."""

import inspect
import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from docs_pages import ROOT
from embstore_cli.main import app
from typer.main import get_command

import embstore
from embstore import Store, errors
from embstore import metrics as metrics_package
from embstore.metrics import METRICS

pytest.importorskip("zensical")
pytest.importorskip("mkdocstrings")


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
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site from a copy of its sources."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, _Page]:
    """Return the anchors and links of every page by its path within the site."""
    return {
        path.relative_to(site).as_posix(): _Page(path.read_text("utf-8"))
        for path in site.rglob("*.html")
        if path.name != "404.html"
    }


def _broken(site: Path, pages: dict[str, _Page]) -> list[str]:
    """Return the internal links that lead to no file, or to no anchor of the page."""
    found = []
    for name, page in pages.items():
        for link in page.links:
            if link.startswith(("http://", "https://", "mailto:", "data:", "javascript:")):
                continue
            address, anchor = urldefrag(urljoin(f"/{name}", link))
            path = unquote(address).lstrip("/")
            path = f"{path}index.html" if path.endswith("/") or not path else path
            target = pages.get(path)
            if not (site / path).is_file() or (anchor and target and unquote(anchor) not in target.anchors):
                found.append(f"{name}: {link}")
    return found


def test_no_internal_link_is_broken(site: Path, pages: dict[str, _Page]) -> None:
    assert _broken(site, pages) == []


def test_the_link_checker_finds_what_is_broken(tmp_path: Path) -> None:
    texts = {
        "index.html": '<h1 id="top"></h1><a href="a/">a</a><a href="a/#no">b</a><a href="#top">c</a><img src="x.svg">',
        "a/index.html": '<a href="..">up</a><a href="../b/">b</a>',
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    found = _broken(tmp_path, {name: _Page(text) for name, text in texts.items()})
    assert found == ["index.html: a/#no", "index.html: x.svg", "a/index.html: ../b/"]


def test_every_page_of_the_sources_is_in_the_navigation(site: Path, pages: dict[str, _Page]) -> None:
    home = {urljoin("/", link) for link in pages["index.html"].links}
    missing = [name for name in pages if name != "index.html" and f"/{name.removesuffix('index.html')}" not in home]
    assert missing == []


def _public(kind: type) -> list[str]:
    return [name for name, _ in inspect.getmembers(kind) if not name.startswith("_")]


@cache
def _names() -> list[str]:
    """Return the full names that users may import or call."""
    own = [name for name in _public(Store) if name != "catalog"]
    raised = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)]
    return [
        *(f"embstore.{name}" for name in embstore.__all__ if name not in ("__version__", "EmbstoreError")),
        *(f"embstore.Store.{name}" for name in own),
        *(f"embstore.metrics.{name}" for name in metrics_package.__all__),
        *(f"embstore.errors.{name}" for name in raised),
    ]


@pytest.mark.parametrize("name", _names())
def test_every_public_name_has_an_entry(pages: dict[str, _Page], name: str) -> None:
    anchors = pages["reference/python/index.html"].anchors | pages["reference/errors/index.html"].anchors
    assert name in anchors


def test_every_metric_and_every_command_has_a_section(pages: dict[str, _Page]) -> None:
    assert set(METRICS) <= pages["reference/metrics/index.html"].anchors
    group = get_command(app)
    shown = [name for name in group.list_commands(None) if not group.get_command(None, name).hidden]
    assert {f"embstore-{name}" for name in shown} <= pages["reference/cli/index.html"].anchors
