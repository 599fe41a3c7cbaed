"""Plain ``pytest`` collects every test file: by default it leaves out folders of some names, such
as ``build``.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def is_collected(file, config):
    folders = [parent for parent in file.parents if ROOT in parent.parents]
    testpaths = [ROOT / name for name in config.getini("testpaths")]
    is_ignored = config.hook.pytest_ignore_collect
    return any(path in folders for path in testpaths) and not any(
        is_ignored(collection_path=path, config=config) for path in (file, *folders)
    )


def test_every_test_file_is_collected(pytestconfig):
    sources = ("benchmarks", "cli", "embstore", "schemas", "tests")
    files = [file for name in sources for file in (ROOT / name).rglob("test_*.py")]
    assert Path(__file__) in files
    left_out = [
        str(file.relative_to(ROOT)) for file in files if not is_collected(file, pytestconfig)
    ]
    assert left_out == []
