"""Run the code blocks of every page, offline, with the packaged MiniLM, and compare what the pages show."""

from pathlib import Path

import pytest
from docs_pages import DOCS, Block, blocks, commands, matches, pages, shell_script
from docs_run import run_page

SHELL = ("bash", "console")
RUN = [
    page
    for page in pages()
    if page != DOCS / "index.md"  # start_folder runs it
    and any(block.language in (*SHELL, "python") and not block.not_run for block in blocks(page.read_text("utf-8")))
]


def _name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix() if page.is_relative_to(DOCS) else page.name


@pytest.mark.slow
def test_start_builds_a_store(start_folder: Path) -> None:
    assert (start_folder / "store" / "store.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=_name)
def test_the_commands_of_a_page_do_what_it_says(page: Path, start_folder: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path, start_folder / "store")


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_a_block_that_is_not_run_gives_a_reason(page: Path) -> None:
    """A shell block is marked by its language, so that none escapes: no sh, shell or zsh, and no bare fence."""
    for block in blocks(page.read_text("utf-8")):
        assert block.language not in ("", "sh", "shell", "zsh", "pycon"), f"{_name(page)}:{block.line}"
        assert block.not_run is None or len(block.not_run.split()) > 2, f"{_name(page)}:{block.line}"


def test_a_failing_command_is_named_by_page_and_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```bash\ntrue\nls no-such-file\n```\n", "utf-8")
    (folder := tmp_path / "run").mkdir()
    with pytest.raises(pytest.fail.Exception, match=r"(?s)page.md: .*line 5: ls no-such-file"):
        run_page(page, folder)


def test_a_failing_command_of_a_console_block_is_named_too(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo a\na\n$ ls no-such-file\nb\n```\n", "utf-8")
    (folder := tmp_path / "run").mkdir()
    with pytest.raises(pytest.fail.Exception, match=r"(?s)page.md: .*line 4: ls no-such-file"):
        run_page(page, folder)


def test_a_failing_line_of_python_is_named_too(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\na = 1\na / 0\n```\n", "utf-8")
    (folder := tmp_path / "run").mkdir()
    with pytest.raises(pytest.fail.Exception, match=r"(?s)page.md: .*line 5, in <module>"):
        run_page(page, folder)


def test_output_that_differs_from_the_page_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ printf 'a\\nb\\n'\na\nc\n```\n", "utf-8")
    (folder := tmp_path / "run").mkdir()
    with pytest.raises(pytest.fail.Exception, match=r"page.md:2: printf"):
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
def test_dots_stand_for_anything_and_all_else_for_itself(shown: tuple[str, ...], printed: str, same: bool) -> None:
    assert matches(shown, printed) is same


def test_commands_keep_the_lines_of_the_page(tmp_path: Path) -> None:
    text = "<!-- setup\necho hidden\n-->\n\n```console\n$ echo one \\\n>   two\none two\n```\n"
    lines = shell_script(text, tmp_path).split("\n")
    assert lines[1] == "echo hidden"
    assert lines[5] == "{ echo one \\"
    assert lines[6].startswith("  two; }")
    [block] = blocks(text)
    assert block == Block(6, "console", ("$ echo one \\", ">   two", "one two"), None)
    assert commands(block)[0].output == ("one two",)
