"""The memory of a build does not grow with its source."""

from pathlib import Path

import pytest
from peak_memory import peak
from tiny_checkpoint import stored_files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc"
    ),
]

GROWTH = 1.2
_BUILD = """
from embstore import Store
from embstore.storage.staging import staging
staging._MEMORY = "64MB"  # of DuckDB, which may fill it: what is held beside must not grow
report = Store({store!r}).build({source!r}, models={model!r}, unit={unit!r}, index="none")
assert report.spaces[0].embedded == {n}
"""


def peak_of_build(
    folder: Path, checkpoint: Path, n: int, n_blank: int = 0, n_digits: int = 0
) -> float:
    """Return the peak memory of a build of ``n`` words and some empty lines in a process of its
    own, in MB; or of the tokens of ``n`` numbers, each digit one.
    """
    source = folder / f"{n}-{n_blank}.txt"
    lines = (f"{number:0{n_digits}}" if n_digits else f"w{number}" for number in range(n))
    source.write_text("".join(f"{line}\n" for line in lines) + "\n" * n_blank)
    code = _BUILD.format(
        store=str(folder / f"store-{n}-{n_blank}"),
        source=str(source),
        model=f"tiny={checkpoint}",
        unit="token" if n_digits else "word",
        n=n * max(1, n_digits),
    )
    return peak(code)[0] / 1e3


def test_ten_times_the_words_take_hardly_more_memory(tmp_path, checkpoint):
    few, many = (peak_of_build(tmp_path, checkpoint, n) for n in (12_000, 120_000))
    assert many <= GROWTH * few, f"{many:.0f} MB for 120,000 words, {few:.0f} MB for 12,000"


def test_nor_do_ten_times_the_tokens(tmp_path, checkpoint):
    few, many = (peak_of_build(tmp_path, checkpoint, n, n_digits=48) for n in (250, 2_500))
    assert many <= GROWTH * few, f"{many:.0f} MB for 120,000 tokens, {few:.0f} MB for 12,000"


def test_nor_do_skipped_rows(tmp_path, checkpoint):
    few, many = (
        peak_of_build(tmp_path, checkpoint, 1, n_blank) for n_blank in (400_000, 2_000_000)
    )
    assert many <= GROWTH * few, f"{many:.0f} MB for 2,000,000 rows, {few:.0f} MB"
    # Each of 20 MiB in memory.
    assert len(stored_files(tmp_path / "store-1-2000000", "skipped/")) <= 16
