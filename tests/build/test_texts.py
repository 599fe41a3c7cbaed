"""Reading the texts of sources into the staging area."""

from pathlib import Path

import pytest

from embstore.base.space import Unit
from embstore.base.text import NO_WORD
from embstore.build.texts import Sources, read_texts
from embstore.storage.staging import staging


def test_rows_are_staged_some_at_a_time_whether_or_not_they_hold_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_BATCH_ROWS", 3)
    cached: list[int] = []
    flush = staging.Appender.flush

    def counted(self: staging.Appender) -> None:
        cached.append(len(self._rows))
        flush(self)

    monkeypatch.setattr(staging.Appender, "flush", counted)
    source = tmp_path / "mostly-empty.txt"
    source.write_text("one\n" + "\n" * 20 + "two\n", "utf-8")
    with staging.Staging(tmp_path, Unit.WORD) as area:
        texts = read_texts(Sources((str(source),)), area)
    assert (texts.n_texts, sum(texts.blanks.values())) == (2, 20)
    assert max(cached) == 3


def test_a_sentence_without_a_word_is_told_of_and_not_lost(tmp_path: Path) -> None:
    source = tmp_path / "sentences.txt"
    source.write_text("dog runs\n?!\n…\n", "utf-8")
    with staging.Staging(tmp_path, Unit.OCCURRENCE) as area:
        texts = read_texts(Sources((str(source),), Unit.OCCURRENCE), area)
    assert (texts.n_texts, texts.blanks) == (3, {NO_WORD: 2})
