"""Run the notebooks of the documentation in Jupyter, offline, with the packaged MiniLM."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from docs_pages import DOCS, ROOT
from docs_run import link_store

pytestmark = pytest.mark.docs

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
KERNEL = """
import os
from ipykernel import kernelapp
del os.environ["JPY_PARENT_PID"]  # which is not the parent of a forked process, and the kernel would end
kernelapp.launch_new_instance()
"""


def _cells(notebook):
    return json.loads(notebook.read_text("utf-8"))["cells"]


@pytest.fixture(scope="module")
def jupyter_path(programs, tmp_path_factory):
    """A folder with a kernel in which the libraries are loaded; where there is none, Jupyter finds
    its own.
    """
    folder = tmp_path_factory.mktemp("jupyter")
    if programs is not None:
        (own := folder / "kernels" / "python3").mkdir(parents=True)
        (own / "kernel.py").write_text(KERNEL)
        command = [f"{programs}/preloaded-python", f"{own}/kernel.py", "-f", "{connection_file}"]
        (own / "kernel.json").write_text(
            json.dumps({"argv": command, "display_name": "Python", "language": "python"})
        )
    return folder


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_jupyter_runs_the_cells_of_a_notebook(notebook, start_folder, jupyter_path, tmp_path):
    """In a folder that is to it as docs/notebooks is, with a store of the page Start."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    (own := tmp_path / "notebooks").mkdir()
    shutil.copytree(DOCS / "tutorials", tmp_path / "tutorials")
    shutil.copy(notebook, own)
    link_store(start_folder / "store", own / "store")
    settings = {
        "HF_HUB_OFFLINE": "1",
        "EMBSTORE_DATA": str(tmp_path / "data"),
        "JUPYTER_PATH": str(jupyter_path),
    }
    command = [sys.executable, "-c", "from nbclient.cli import main; main()", notebook.name]
    done = subprocess.run(
        command,
        cwd=own,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_in_colab_installs_what_it_needs_and_belongs_to_a_tutorial(notebook):
    words, install, *_ = ("".join(cell["source"]) for cell in _cells(notebook))
    address = f"https://colab.research.google.com/github/embstore/embstore/blob/main/docs/notebooks/{notebook.name}"
    assert (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"
        in words
    )
    extras = re.findall(r"`(\w+)`", words.partition("with the extras ")[2].partition("network")[0])
    assert f'"embstore[{",".join(extras)}]"' in install
    code = "".join("".join(cell["source"]) for cell in _cells(notebook)[2:])
    for name in re.findall(r'"\.\./tutorials/([^"]+)"', code):
        assert f"{{tutorials}}/{name} -o ../tutorials/{name}" in install
    tutorial = DOCS / "tutorials" / f"{notebook.stem}.md"
    assert f"(../notebooks/{notebook.name})" in tutorial.read_text("utf-8")
    assert f"(../tutorials/{tutorial.name})" in words
    assert tutorial.relative_to(DOCS).as_posix() in (ROOT / "zensical.toml").read_text("utf-8")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_has_no_outputs(notebook):
    nbformat = pytest.importorskip("nbformat")
    found = nbformat.read(notebook, as_version=nbformat.NO_CONVERT)
    nbformat.validate(found)
    assert found["metadata"]["kernelspec"]["name"] == "python3"
    for cell in found["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
