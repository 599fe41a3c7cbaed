"""Pictures that commands have drawn are kept, and only the same picture is taken for one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from synthetic import Synthetic

from embstore.plot import Figure, conversion, drawn, keeping_drawn, starting_early

FIGURE = Figure(
    {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json", "mark": "line", "title": {"text": "naïve 文"},
        "data": {"values": [{"a": 0.1, "b": 2}, {"a": 1 / 3, "b": 7}]},
        "encoding": {"x": {"field": "a", "type": "quantitative"}, "y": {"field": "b", "type": "quantitative"}},
    }
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of kept pictures, which no other test uses."""
    pytest.importorskip("vl_convert", reason="pictures need vl-convert-python (extra plot)")
    monkeypatch.setattr(drawn, "folder", lambda: tmp_path / "pictures")
    monkeypatch.setattr(conversion, "sys", SimpleNamespace(modules={}, executable=sys.executable))
    return tmp_path / "pictures"


def draw(figure: Figure = FIGURE) -> tuple[str, bytes, bytes]:
    with starting_early(), keeping_drawn():
        return figure.to_svg(), figure.to_png(), figure.to_pdf()


def test_what_was_drawn_is_the_same_and_not_drawn_again(cache, monkeypatch):
    expected = FIGURE.to_svg(), FIGURE.to_png()
    assert not cache.exists(), "Python's own pictures are not kept"
    first = draw()
    assert first[:2] == expected
    assert len([*cache.iterdir()]) == 3
    monkeypatch.setattr(conversion, "_converted", lambda *_: pytest.fail("it was drawn again"))
    assert draw() == first


def test_another_picture_renderer_or_font_is_drawn(cache, tmp_path, monkeypatch):
    fonts = tmp_path / "fonts" / "mine"
    fonts.mkdir(parents=True)
    monkeypatch.setattr(drawn, "_FONT_FOLDERS_ELSEWHERE", (str(fonts.parent),))
    monkeypatch.setattr(drawn, "_FONT_FOLDERS", {})
    paths = [drawn.path_of("vegalite_to_svg", {"vl_spec": {"mark": "line"}})]
    assert drawn.path_of("vegalite_to_svg", {"vl_spec": {"mark": "line"}}) == paths[0]
    paths.append(drawn.path_of("vegalite_to_png", {"vl_spec": {"mark": "line"}}))
    paths.append(drawn.path_of("vegalite_to_svg", {"vl_spec": {"mark": "bar"}}))
    paths.append(drawn.path_of("vegalite_to_svg", {"vl_spec": {"mark": "line"}, "scale": 2}))
    (fonts / "new.ttf").write_bytes(b"")
    os.utime(fonts, ns=(1, 1))  # a later time, on disks that count seconds too
    paths.append(drawn.path_of("vegalite_to_svg", {"vl_spec": {"mark": "line"}}))
    monkeypatch.setattr(drawn, "_renderer", lambda: [("vl_convert.abi3.so", 1, 1)])
    paths.append(drawn.path_of("vegalite_to_svg", {"vl_spec": {"mark": "line"}}))
    assert len({*paths}) == len(paths)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda _: b"",
        lambda data: data + b"x",
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    ],
)
def test_one_that_was_altered_is_drawn_again(cache, damage: Callable[[bytes], bytes]):
    with starting_early(), keeping_drawn():
        expected = FIGURE.to_svg()
    [kept] = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    with starting_early(), keeping_drawn():
        assert FIGURE.to_svg() == expected
    assert kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_keeps_none(cache):
    cache.write_text("a file")
    with starting_early(), keeping_drawn():
        assert FIGURE.to_svg() == FIGURE.to_svg()
    assert cache.read_text() == "a file"


def test_those_drawn_longest_ago_go(cache, monkeypatch):
    monkeypatch.setattr(drawn, "_MAX_PICTURES", 3)
    for number in range(5):
        drawn.keep(cache / f"{number}", str(number))
        os.utime(cache / f"{number}", ns=(number, number))
    drawn.keep(cache / "5", b"5")
    assert [drawn.read(cache / str(number)) for number in range(6)] == [None, None, None, "3", "4", b"5"]


def test_the_command_line_keeps_pictures_unless_told_not_to(make_store: Callable[..., Synthetic], tmp_path: Path):
    root = make_store(index=False).root
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    pictures = tmp_path / "cache" / "embstore" / "pictures"

    def plot(*arguments: str) -> bytes:
        command = [sys.executable, "-m", "embstore_cli", "plot", "norms", "--store", str(root), *arguments]
        subprocess.run([*command, "-o", "a.svg"], check=True, env=environment, cwd=tmp_path, capture_output=True)
        return (tmp_path / "a.svg").read_bytes()

    first = plot("--no-cache")
    assert not pictures.exists()
    assert plot() == first
    [kept] = pictures.iterdir()
    assert drawn.read(kept) is not None
    assert plot() == first
