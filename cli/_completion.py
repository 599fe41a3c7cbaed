"""Completion of a command line by the shell: commands, options, metrics, spaces, checkpoints and datasets.

What is completed is read without the libraries that answer questions, so that a key press takes no longer than
``embstore --version``. Where something is missing or damaged nothing is offered, without a message.
"""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "fish", "powershell")
VARIABLE = "_EMBSTORE_COMPLETE"

METRICS = (
    "alignment", "analogies", "anisotropy", "cka", "correlate", "effective-rank", "hubness", "intra-sentence",
    "intrinsic-dimension", "isoscore", "mev", "norms", "overlap", "participation-ratio", "partition", "rogue-dims",
    "rsa", "sc-weat", "self-similarity", "similarity", "spectrum", "uniformity", "valnorm", "weat",
)  # fmt: skip
"""Names of the built-in metrics: their declarations load numpy."""

_LAYERS = ("all", "top", "raw", "normed", "0")
_TRANSFORMS = ("center", "standardize", "abtt:", "abtt-original:", "drop:", "whiten")


def script(shell: str) -> str:
    """Return the script that switches completion on in a shell."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name="embstore", complete_var=VARIABLE, shell=shell)


def answer(command: Any, instruction: str) -> None:
    """Print the completions of the command line that a shell gives in its variables; nothing if there are none."""
    from typer._click.shell_completion import get_completion_class
    from typer._completion_classes import completion_init

    completion_init()
    kind = get_completion_class(instruction.removeprefix("complete_"))
    if kind is None:
        return
    # A message would land in the middle of the line that is being typed.
    with suppress(Exception), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        completing: Any = kind(command, {}, "embstore", VARIABLE)
        find = completing.get_completions
        completing.get_completions = lambda *words: [_without_help(item) for item in find(*words)]
        print(completing.complete())


def _without_help(item: Any) -> Any:
    """Return an item without its help, which Typer would lay out by a library that takes long to load."""
    item.help = None
    return item


def values_of(parameter: Any, context: Any) -> Iterable[str]:
    """Return the known values of an option or argument."""
    flags, metavar = [*parameter.opts], parameter.metavar or ""
    for names, values in _VALUES:
        if {*flags, metavar} & names:
            return values(context)
    if "|" in metavar:
        return metavar.split("|")
    return ()


def _folder(context: Any) -> Path:
    given = context.params.get("store")
    found = (
        (given[0] if isinstance(given, list | tuple) and given else given)
        or os.environ.get("EMBSTORE_STORE")
        or "store"
    )
    return Path(found)


def _spaces(context: Any) -> list[str]:
    return sorted(path.stem for path in (_folder(context) / "spaces").glob("*.json"))


def _models(context: Any) -> list[str]:
    names = {"gpt2", "clip", "minilm"} if context.info_name in ("build", "reproduce") else set()
    return sorted(names | _values_in_cards(context, "model"))


def _revisions(context: Any) -> list[str]:
    return sorted(_values_in_cards(context, "revision_name"))


def _values_in_cards(context: Any, key: str) -> set[str]:
    found = set()
    for path in (_folder(context) / "spaces").glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.add(str(json.loads(path.read_bytes())[key]))
    return found


def _datasets(context: Any) -> list[str]:
    if context.info_name in ("build", "fetch", "add", "missing"):
        from embstore.sources.datasets import known_datasets

        return sorted(known_datasets())
    return sorted(path.stem for path in (_folder(context) / "datasets").glob("*.parquet"))


def _fixed(*values: str) -> Callable[[Any], Iterable[str]]:
    return lambda _: values


_VALUES: tuple[tuple[set[str], Callable[[Any], Iterable[str]]], ...] = (
    ({"--space", "--against", "--sentence-space", "SPACE"}, _spaces),
    ({"--model"}, _models),
    ({"--revision"}, _revisions),
    ({"--dataset", "--lexicon", "SOURCE", "DATASET", "ENTRY"}, _datasets),
    ({"--layer"}, _fixed(*_LAYERS)),
    ({"--transform"}, _fixed(*_TRANSFORMS)),
    ({"RECIPE"}, _fixed("wolfe2022")),
    ({"SHELL"}, _fixed(*SHELLS)),
)
