"""Name spaces in words, for figures and for tables in papers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from embstore.base.errors import UnknownNameError, UsageError

_PARTS = re.compile(
    r"(?P<model>.+?)\.(?P<unit>word|sentence|occurrence|token)\.(?P<pooling>[^.]+)"
    r"(?:\.(?P<more>.+))?"
)
_UNTRAINED = re.compile(r"(?P<model>.+?)-untrained-(?P<seed>\d+)(?P<more>.*)")
_UNITS = {"word": "words", "sentence": "sentences", "occurrence": "occurrences", "token": "tokens"}
_POOLINGS = {
    "last": "last token", "first": "first token", "mean": "mean of tokens",
    "mean-all": "mean of all tokens", "weighted": "weighted mean of tokens",
    "weighted-all": "weighted mean of all tokens",
    "bos": "first special token",
    "eos": "last special token", "model": "model's own pooling",
}  # fmt: skip
_MODELS = {
    "minilm": "MiniLM", "gpt2": "GPT-2", "clip": "CLIP", "bert": "BERT", "roberta": "RoBERTa",
    "pythia": "Pythia",
    "distilbert": "DistilBERT", "mpnet": "MPNet",
}  # fmt: skip


def space_labels(spaces: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return space → label, and what all spaces have in common.

    A label has the parts in which the spaces differ: ``mean of tokens`` for ``minilm.word.mean``
    beside ``minilm.word.last``, which have ``MiniLM, words`` in common. A single space has no label
    but its whole name.
    """
    matches = [match for match in map(_PARTS.fullmatch, spaces) if match]
    if not spaces or len(matches) < len(spaces):  # with names that users gave
        return {space: space for space in spaces}, spaces[0] if len(spaces) == 1 else ""
    seeds = {match["seed"] for match in map(_UNTRAINED.match, spaces) if match}
    parts = [
        (
            _model_label(match["model"], with_seed=seeds != {"0"}),
            _UNITS[match["unit"]],
            _POOLINGS.get(match["pooling"], match["pooling"]),
            match["more"] or "",
        )
        for match in matches
    ]
    differs = [len({*names}) > 1 for names in zip(*parts, strict=True)]
    shared = ", ".join(
        name for name, is_own in zip(parts[0], differs, strict=True) if name and not is_own
    )
    if len(spaces) == 1:
        return {spaces[0]: shared}, shared
    labels = [
        ", ".join(name or "plain" for name, is_own in zip(names, differs, strict=True) if is_own)
        for names in parts
    ]
    if len({*labels}) < len(spaces):
        labels = list(spaces)
    return dict(zip(spaces, labels, strict=True)), shared


def _model_label(model: str, *, with_seed: bool) -> str:
    """Return a model's name as its authors write it: ``MiniLM, untrained`` for
    ``minilm-untrained-0``.
    """
    if (match := _UNTRAINED.fullmatch(model)) is not None:
        seed = f" (seed {match['seed']})" if with_seed else ""
        return f"{_model_label(match['model'], with_seed=False)}{match['more']}, untrained{seed}"
    return re.sub(r"^[^-.]+", lambda first: _MODELS.get(first[0], first[0]), model)


def labelled(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    beside: Sequence[str],
    chosen: Mapping[str, str],
) -> tuple[tuple[dict[str, Any], ...], dict[str, str], str]:
    """Return rows with labels in place of the names of spaces, space → label, and what all spaces
    have in common.

    Names are replaced in the columns of spaces, and in those beside them, which may have other
    texts too. Labels that a user gave must be of spaces in the rows, and each of another text than
    all others.
    """
    spaces = list(
        dict.fromkeys(row[name] for name in columns for row in rows if row.get(name) is not None)
    )
    by_space, shared = space_labels(spaces)
    if unknown := [space for space in chosen if space not in by_space]:
        raise UnknownNameError("space to label", unknown[0], by_space)
    labels = {**by_space, **chosen}
    if len({*labels.values()}) < len(labels):
        raise UsageError(
            "two spaces have the same label: give each labels='SPACE=TEXT' a text of its own."
        )
    names = (*columns, *beside)
    replaced = (
        {name: labels.get(row[name], row[name]) for name in names if name in row} for row in rows
    )
    changed = tuple({**row, **more} for row, more in zip(rows, replaced, strict=True))
    return changed, labels, labels[spaces[0]] if len(spaces) == 1 else shared


def read_labels(value: Any) -> dict[str, str]:
    """Return space → label of a mapping, of pairs, or of texts ``SPACE=TEXT``."""
    labels = {}
    for pair in value.items() if isinstance(value, Mapping) else as_list(value):
        space, label = pair if isinstance(pair, tuple) else str(pair).partition("=")[::2]
        if not (space and label and isinstance(space, str) and isinstance(label, str)):
            raise UsageError(
                f"{pair!r} is no label: write SPACE=TEXT, as in labels='minilm.word.last=MiniLM,"
                " words'."
            )
        labels[space] = label
    return labels


def as_list(value: Any) -> list[Any]:
    """Return the values of an option that takes several: none for None or "", a single one where it
    is no list.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [value] if value else []
    return [*value]


def model_of(space: str) -> str:
    """Return the part of a space's name that is its model; the whole of a name that a user gave."""
    match = _PARTS.fullmatch(space)
    return match["model"] if match else space
