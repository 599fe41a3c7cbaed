"""Run the code blocks of every page, offline, with the packaged MiniLM, and compare what the pages
show.
"""

import pytest
from docs_pages import DOCS, ROOT, blocks, matches, pages
from docs_run import run_page

pytestmark = pytest.mark.docs

RUN_LANGUAGES = ("bash", "console", "python")
RUN = [
    page
    for page in pages()
    if page != DOCS / "index.md"  # start_folder runs it
    and any(block.language in RUN_LANGUAGES for block in blocks(page.read_text("utf-8")))
]


def _name(page):
    return page.relative_to(DOCS).as_posix() if page.is_relative_to(DOCS) else page.name


def test_start_builds_a_store(start_folder):
    assert (start_folder / "store" / "manifest").is_dir()


@pytest.mark.parametrize("page", RUN, ids=_name)
def test_the_commands_of_a_page_do_what_it_says(page, start_folder, programs, tmp_path):
    run_page(page, tmp_path, start_folder / "store", programs)


def test_each_block_has_a_known_language():
    """A block is run by its language, so that none escapes: no shell, zsh or bare fence."""
    found = {block.language for page in pages() for block in blocks(page.read_text("utf-8"))}
    assert found <= {*RUN_LANGUAGES, "sh", "py", "text", "toml", "json", "yaml", "bibtex"}


def test_each_hidden_script_belongs_to_a_page():
    for kind in ("before", "after"):
        folder = ROOT / "tests" / "docs" / kind
        for script in folder.rglob("*.sh"):
            name = script.relative_to(folder).with_suffix(".md")
            assert (DOCS / name) in RUN or (ROOT / name) in RUN, script


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```bash\ntrue\nls no-such-file\n```", r"page.md: .*line 5: ls no-such-file"),
        (
            "```console\n$ echo a\na\n$ ls no-such-file\nb\n```",
            r"page.md: .*line 6: ls no-such-file",
        ),
        ("```python\na = 1\na / 0\n```", r"page.md: .*line 5, in <module>"),
        ("```console\n$ printf 'a\\nb\\n'\na\nc\n```", r"page.md:4: printf 'a"),
    ],
    ids=["bash", "console", "python", "output"],
)
def test_what_fails_is_named_by_page_and_line(tmp_path, block, message):
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{block}\n", "utf-8")
    (folder := tmp_path / "run").mkdir()
    with pytest.raises(pytest.fail.Exception, match=f"(?s){message}"):
        run_page(page, folder)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (("a", "b"), "a\nb\n", True),
        (("a", "b", ""), "a\nb", True),
        (("a", "…", "d"), "a\nb\nc\nd\n", True),
        (("a …, b",), "a 0.5, b\n", True),
        (("a (…)",), "a x\n", False),
        (("a",), "a\nb\n", False),
        (("a.c",), "abc\n", False),
        ((), "", True),
        ((), "a\n", False),
    ],
)
def test_dots_stand_for_anything_and_all_else_for_itself(shown, printed, same):
    assert matches(shown, printed) is same
