"""The conversion of pictures in another process, and what happens where that process fails."""

import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from embstore_cli.entry import draws

from embstore.plot import Figure, conversion, start_before, starting_early

pytestmark = pytest.mark.process

SPEC = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json", "mark": "line", "title": {"text": "naïve 文"},
    "data": {"values": [{"a": 0.1, "b": 2}, {"a": 1e-300, "b": None}, {"a": 1 / 3, "b": 7}]},
    "encoding": {"x": {"field": "a", "type": "quantitative"}, "y": {"field": "b", "type": "quantitative"}},
}  # fmt: skip
FIGURE = Figure(SPEC)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[bytes]"]:
    """Processes that were started, as they are where vl-convert is not loaded."""
    pytest.importorskip("vl_convert", reason="pictures need vl-convert-python (extra plot)")
    started: list[subprocess.Popen[bytes]] = []

    def popen(*arguments, **options) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(conversion, "sys", SimpleNamespace(modules={}, executable=sys.executable))
    monkeypatch.setattr(conversion, "subprocess", SimpleNamespace(Popen=popen, PIPE=-1, DEVNULL=-3))
    return started


def test_another_process_gives_the_same_bytes(
    started: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = FIGURE.to_svg(), FIGURE.to_png(), FIGURE.to_html()
    with monkeypatch.context() as patched, starting_early():
        patched.setattr(conversion, "_converter", lambda: pytest.fail("it was converted in this process"))
        assert (FIGURE.to_svg(), FIGURE.to_png(), FIGURE.to_html()) == expected
        assert FIGURE.to_pdf().startswith(b"%PDF")
    [process] = started
    assert process.returncode is not None
    assert FIGURE.to_svg() == expected[0]


def test_the_process_that_was_started_before_is_taken_once(started: list["subprocess.Popen[bytes]"]) -> None:
    expected = FIGURE.to_svg()
    start_before()
    with starting_early():
        assert len(started) == 1
        assert FIGURE.to_svg() == expected
    assert started[0].returncode is not None
    with starting_early():
        assert len(started) == 2


def test_no_process_is_left_where_nothing_was_drawn() -> None:
    pytest.importorskip("vl_convert", reason="pictures need vl-convert-python (extra plot)")
    code = (
        "import sys; from embstore.plot import conversion, start_before; start_before(); "
        "print(conversion._waiting[0].pid)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("norms", True), ("norms -o a.svg -o b.png", True), ("norms -o a.vl.json", False), ("norms --help", False),
     ("-h", False), ("", False)],
)  # fmt: skip
def test_it_is_started_for_pictures_alone(arguments: str, expected: bool) -> None:
    assert draws(arguments.split()) == expected


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize("end", [kill, lambda process: process.stdin.write(b"nonsense\n")])
def test_a_picture_is_converted_here_if_that_process_ends(
    started: list["subprocess.Popen[bytes]"], end: Callable[["subprocess.Popen[bytes]"], None]
) -> None:
    expected = FIGURE.to_svg()
    with starting_early():
        end(started[0])
        assert FIGURE.to_svg() == expected
        assert FIGURE.to_svg() == expected


def test_no_process_starts_where_the_converter_runs_or_is_not_there_or_none_may(
    started: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments, **_options) -> None:
        raise BlockingIOError

    for name, value in (
        ("sys", SimpleNamespace(modules={"vl_convert": None})),
        ("find_spec", lambda _name: None),
        ("subprocess", SimpleNamespace(Popen=refuse, PIPE=-1, DEVNULL=-3)),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(conversion, name, value)
            with starting_early():
                assert FIGURE.to_svg().startswith("<svg")
    assert not started
