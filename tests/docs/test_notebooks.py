"""Run the notebooks of the documentation, offline, with the packaged MiniLM: their cells in order, in one process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from docs_pages import DOCS, ROOT

pytestmark = pytest.mark.docs

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
KEYS = {"markdown": {"cell_type", "id", "metadata", "source"}}
KEYS["code"] = KEYS["markdown"] | {"execution_count", "outputs"}


def _cells(notebook: Path) -> list[dict[str, Any]]:
    return json.loads(notebook.read_text("utf-8"))["cells"]


def _script(notebook: Path) -> str:
    """Return the code cells as a script that names the cell of an error."""
    code = [(cell["id"], "".join(cell["source"])) for cell in _cells(notebook) if cell["cell_type"] == "code"]
    return "".join(f"exec(compile({source!r}, {f'{notebook.name}, {cell}'!r}, 'exec'))\n" for cell, source in code)


def _run(notebook: Path, folder: Path, store: Path | None, python: Path | str) -> subprocess.CompletedProcess[str]:
    """Run a notebook in a folder that is to it as docs/notebooks is, with a store of the page Start."""
    (own := folder / "notebooks").mkdir()
    shutil.copytree(DOCS / "tutorials", folder / "tutorials")
    if store is not None:
        subprocess.run(["cp", "-al", store, own / "store"], check=True)
    (own / "script.py").write_text(_script(notebook), "utf-8")
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "EMBSTORE_DATA": str(folder / "data")}
    return subprocess.run(
        [python, "script.py"], cwd=own, env=settings, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cells_of_a_notebook_run(notebook: Path, start_folder: Path, programs: Path | None, tmp_path: Path) -> None:
    python = programs / "preloaded-python" if programs else sys.executable
    done = _run(notebook, tmp_path, start_folder / "store", python)
    assert done.returncode == 0, done.stderr[-3000:]


def test_an_error_is_named_by_its_cell(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["1 / 0"]},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": ["x = 0\n", "x"], "outputs": []},
        {"cell_type": "code", "id": "c", "metadata": {}, "source": ["y = 1\n", "y / x"], "outputs": []},
    ]
    notebook = tmp_path / "wrong.ipynb"
    notebook.write_text(json.dumps({"cells": cells}), "utf-8")
    done = _run(notebook, tmp_path, None, sys.executable)
    assert done.returncode == 1
    assert 'File "wrong.ipynb, c", line 2' in done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_the_form_of_version_4_5_and_no_outputs(notebook: Path) -> None:
    found = json.loads(notebook.read_text("utf-8"))
    assert {*found} == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert found["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    ids = [cell["id"] for cell in found["cells"]]
    assert len({*ids}) == len(ids)
    for cell in found["cells"]:
        assert {*cell} == KEYS[cell["cell_type"]]
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_belongs_to_a_tutorial_that_links_to_it(notebook: Path) -> None:
    page = DOCS / "tutorials" / f"{notebook.stem}.md"
    assert f"(../notebooks/{notebook.name})" in page.read_text("utf-8")
    assert f"(../tutorials/{page.name})" in "".join(_cells(notebook)[0]["source"])
    assert page.relative_to(DOCS).as_posix() in (ROOT / "zensical.toml").read_text("utf-8")
