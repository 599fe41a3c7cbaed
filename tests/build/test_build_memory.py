"""The memory of a build does not grow with its source."""

import pytest
from peak_memory import peak
from tiny_checkpoint import stored_files

pytestmark = pytest.mark.slow

GROWTH = 1.2
_PREPARE = """
from embstore import Store
from embstore.storage.staging import staging
staging._MEMORY = "96MB"  # of DuckDB, which may fill it: what is held beside must not grow
"""
_BUILD = """
report = Store({store!r}).build({source!r}, models={model!r}, unit={unit!r}, index="none")
assert report.spaces[0].embedded == {n}
"""


def check_peaks(folder, checkpoint, few, many, unit):
    """Build from few lines and then from many in the same process, which imports what it needs
    once: its peak hardly grows.
    """
    builds = []
    for name, lines in (("few", few), ("many", many)):
        source = folder / f"{name}.txt"
        source.write_text("".join(f"{line}\n" for line in lines))
        code = _BUILD.format(
            store=str(folder / name),
            source=str(source),
            model=f"tiny={checkpoint}",
            unit=unit,
            n=sum(len(line) if unit == "token" else bool(line) for line in lines),
        )
        builds.append(code)
    peak_of_many, grown = peak(builds[1], _PREPARE + builds[0])
    peak_of_few = peak_of_many - grown
    assert peak_of_many <= GROWTH * peak_of_few, f"{peak_of_few} kB, then {peak_of_many} kB"


def words(n):
    return [f"w{number}" for number in range(n)]


def test_ten_times_the_words_take_hardly_more_memory(tmp_path, checkpoint):
    check_peaks(tmp_path, checkpoint, words(12_000), words(120_000), "word")


def test_nor_do_ten_times_the_tokens(tmp_path, checkpoint):
    few, many = ([f"{number:048}" for number in range(n)] for n in (250, 2_500))
    check_peaks(tmp_path, checkpoint, few, many, "token")  # each digit is one


def test_nor_do_skipped_rows(tmp_path, checkpoint):
    few, many = (["w0"] + [""] * n for n in (400_000, 2_000_000))
    check_peaks(tmp_path, checkpoint, few, many, "word")
    assert len(stored_files(tmp_path / "many", "skipped/")) <= 16  # each of 20 MiB in memory
