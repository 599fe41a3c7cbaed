"""Completion of a command line by the shell: commands, options, metrics, spaces, checkpoints and
datasets.

What is completed is read without the libraries that answer questions, so that a key press takes no
longer than ``embstore --version``. Where something is missing or damaged nothing is offered,
without a message.
"""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from embstore.base.errors import check_known

from ._options import argument

SHELLS = ("bash", "zsh", "fish", "powershell")
VARIABLE = "_EMBSTORE_COMPLETE"

METRICS = (
    "alignment", "analogies", "anisotropy", "axis", "ceat", "change", "cka", "cknna", "clusters",
    "correlate",
    "effective-rank", "hubness", "imbalance", "intra-sentence", "intrinsic-dimension", "isoscore",
    "knn", "mev",
    "norms", "overlap", "participation-ratio", "partition", "predictivity", "probe", "procrustes",
    "rogue-dims",
    "rsa", "sc-weat", "self-similarity", "similarity", "spectrum", "uniformity", "valnorm", "weat",
)  # fmt: skip
"""Names of the built-in metrics: their declarations load numpy."""

_LAYERS = ("all", "top", "raw", "normed", "0")
_TRANSFORMS = ("center", "standardize", "abtt:", "abtt-original:", "drop:", "whiten")


def script(shell: str) -> str:
    """Return the script that switches completion on in a shell."""
    with redirect_stdout(StringIO()) as written:
        _follow(None, f"source_{shell}")
    return written.getvalue().strip()


def answer(command: Any, instruction: str) -> None:
    """Print the completions of the command line that a shell gives in its variables; nothing if
    there are none.
    """
    # A message would land in the middle of the line that is being typed.
    with suppress(Exception), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        _follow(command, instruction)


def _follow(command: Any, instruction: str) -> None:
    """Print what a shell is to do: ``source_SHELL`` or ``complete_SHELL``."""
    from typer.completion import get_completion_inspect_parameters, shell_complete

    get_completion_inspect_parameters()  # registers Typer's shells
    shell_complete(command, {}, "embstore", VARIABLE, instruction)


class Completion(NamedTuple):
    """A word that a shell offers; without help, which Typer would lay out by a library that takes
    long to load.
    """

    value: str
    type: str = "plain"
    help: None = None


def values_of(parameter: Any, context: Any) -> Iterable[str]:
    """Return the known values of an option or argument."""
    metavar = parameter.metavar or ""
    for names, values in _VALUES:
        if {*parameter.opts, metavar} & names:
            return values(context)
    if "|" in metavar:
        return metavar.split("|")
    return ()


def _stored(context: Any, folder: str) -> dict[str, Path]:
    """Return the files of the store in a folder by the name of their space or dataset, as the
    newest manifest says.
    """
    from embstore.storage.keys import parse

    given = context.params.get("store")
    first = given[0] if isinstance(given, list | tuple) and given else given
    root = Path(first or os.environ.get("EMBSTORE_STORE") or "store")
    with suppress(OSError, ValueError, KeyError, TypeError):
        manifest = max((root / "manifest").glob("*.json"))
        named = {text: parse(text) for text in json.loads(manifest.read_bytes())["files"]}
        return {
            key.name: root / text
            for text, key in named.items()
            if key and key.kind.folder == folder
        }
    return {}


def _values_in_cards(context: Any, key: str) -> list[str]:
    is_model = key == "model" and context.info_name in ("build", "reproduce")
    found = {"gpt2", "clip", "minilm"} if is_model else set()
    for path in _stored(context, "spaces").values():
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.add(str(json.loads(path.read_bytes())[key]))
    return sorted(found)


def _datasets(context: Any) -> list[str]:
    if context.info_name in ("build", "fetch", "add", "missing"):
        from embstore.sources.datasets import known_datasets

        return sorted(known_datasets())
    return sorted(_stored(context, "datasets"))


_VALUES: tuple[tuple[set[str], Callable[[Any], Iterable[str]]], ...] = (
    ({"--space", "--sentence-space", "SPACE"}, lambda context: sorted(_stored(context, "spaces"))),
    ({"--model"}, lambda context: _values_in_cards(context, "model")),
    ({"--revision"}, lambda context: _values_in_cards(context, "revision_name")),
    ({"--dataset", "--lexicon", "SOURCE", "DATASET", "ENTRY"}, _datasets),
    ({"--layer"}, lambda _: _LAYERS),
    ({"--transform"}, lambda _: _TRANSFORMS),
    ({"RECIPE"}, lambda _: ("wolfe2022",)),
    ({"SHELL"}, lambda _: SHELLS),
)


def completion(shell: Annotated[str, argument("SHELL", "bash, zsh, fish or powershell.")]) -> None:
    """Print the script that lets a shell complete commands, options, metrics, spaces and
    datasets.
    """
    from ._output import write

    check_known("shell", shell, SHELLS)
    write(f"{script(shell)}\n", None)
