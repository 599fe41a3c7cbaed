"""The memory of a build does not grow with its source."""

import subprocess
import sys
from pathlib import Path

import pytest

GROWTH = 1.2
# Not ru_maxrss: a process that is started keeps the peak of the one that starts it.
_PEAK = """
import re, sys
from pathlib import Path
from embstore import Store
from embstore.storage import staging
staging._MEMORY = "64MB"  # of DuckDB, which may fill it: what is held beside must not grow
report = Store(sys.argv[1]).build(sys.argv[2], models=sys.argv[3], index="none")
assert report.spaces[0].embedded == int(sys.argv[4])
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak(folder: Path, checkpoint: Path, n: int, n_blank: int = 0) -> float:
    """Return the peak memory of a build of ``n`` words and some empty lines in a process of its own, in MB."""
    source = folder / f"{n}-{n_blank}.txt"
    source.write_text("".join(f"w{number}\n" for number in range(n)) + "\n" * n_blank)
    arguments = (sys.executable, "-c", _PEAK, folder / f"store-{n}-{n_blank}", source, f"tiny={checkpoint}", n)
    done = subprocess.run(tuple(map(str, arguments)), check=True, capture_output=True, text=True)
    return float(done.stdout) / 1e3


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_ten_times_the_words_take_hardly_more_memory(tmp_path: Path, checkpoint: Path) -> None:
    few, many = (peak(tmp_path, checkpoint, n) for n in (20_000, 200_000))
    assert many <= GROWTH * few, f"{many:.0f} MB for 200,000 words, {few:.0f} MB for 20,000"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_nor_do_skipped_rows(tmp_path: Path, checkpoint: Path) -> None:
    few, many = (peak(tmp_path, checkpoint, 1, n_blank) for n_blank in (200_000, 1_000_000))
    assert many <= GROWTH * few, f"{many:.0f} MB for 1,000,000 rows, {few:.0f} MB"
    skipped = tmp_path / "store-1-1000000" / "skipped"
    assert len(list(skipped.glob("part-*.parquet"))) == 4
