"""Who may import whom, and what each command may load."""

import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_no_files_import_each_other_in_a_circle():
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph(
        "embstore", "embstore_cli", cache_dir=None, exclude_type_checking_imports=True
    )
    imported = {
        module: {
            other
            for other in graph.find_modules_directly_imported_by(module)
            if not module.startswith(f"{other}.")  # a package loads its files
        }
        for module in graph.modules
    }
    assert len(list(TopologicalSorter(imported).static_order())) == len(graph.modules)


def loaded_by(statement):
    """Return the top-level modules that a statement loads in a fresh interpreter."""
    code = (
        f"import sys\n{statement}\nprint('\\n'.join(sorted({{name.split('.')[0] for name in"
        " sys.modules})))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


HEAVY = {"numpy", "pyarrow", "duckdb", "faiss", "scipy", "torch", "transformers", "pandas", "rich"}


def test_the_vocabulary_is_light_and_the_command_line_loads_no_engine_until_a_command_runs():
    assert not loaded_by("import embstore; from embstore.base import errors, space, text") & (
        HEAVY | {"typer"}
    )
    assert not loaded_by(
        "from embstore_cli.main import app; app(['--help'], standalone_mode=False)"
    ) & (HEAVY - {"rich"})


def test_importing_the_store_loads_no_heavy_library():
    heavy = {
        "pyarrow",
        "duckdb",
        "faiss",
        "scipy",
        "torch",
        "transformers",
        "huggingface_hub",
        "pandas",
        "wordfreq",
    }
    assert not loaded_by("from embstore import Store") & (
        heavy | {"starlette", "uvicorn", "matplotlib"}
    )


def test_a_store_in_a_folder_loads_nothing_for_those_at_urls(tmp_path):
    statement = f"from embstore import Store; Store({str(tmp_path / 'none')!r})"
    assert not loaded_by(statement) & {"obstore", "boto3", "platformdirs"}
    run = (
        f"{statement}\nassert not {{'embstore.storage.bucket', 'embstore.storage.web'}} &"
        " {*sys.modules}"
    )
    assert "embstore" in loaded_by(run)


def test_every_package_is_in_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"][
        "packages"
    ]
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "embstore").rglob("__init__.py")]
    assert {*listed} == {".".join(folder.parts) for folder in folders} | {
        "embstore_cli",
        "embstore_schemas",
    }


@pytest.mark.slow
def test_an_import_of_vectors_loads_neither_pandas_nor_an_index(tmp_path):
    """pyarrow would import pandas to look whether it is in use, 50 MB of an import that takes
    little more.
    """
    (tmp_path / "a.vec").write_text("2 2\ndog 1 2\ncat 3 4\n")
    statement = f"from embstore import Store; Store({str(tmp_path / 'store')!r}).import_vectors("
    statement += f"{str(tmp_path / 'a.vec')!r}, 'mine', index='none')"
    assert not loaded_by(statement) & {"pandas", "faiss", "scipy", "torch", "transformers"}
