"""Name spaces in words, and give each model its own colour and mark.

The place of a model in the palette is a hash of its name, so that it does not depend on what else is drawn or stored.
Where several shown spaces have the same place, the first in alphabetical order keeps it, and the others take the next
free ones.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from itertools import count

from embstore.base.errors import UnknownNameError, UsageError

_PARTS = re.compile(r"(?P<model>.+?)\.(?P<unit>word|sentence|occurrence)\.(?P<pooling>[^.]+)(?:\.(?P<more>.+))?")
_UNTRAINED = re.compile(r"(?P<model>.+?)-untrained-(?P<seed>\d+)(?P<more>.*)")
_UNITS = {"word": "words", "sentence": "sentences", "occurrence": "occurrences"}
_POOLINGS = {
    "last": "last token", "first": "first token", "mean": "mean of tokens", "bos": "first special token",
    "eos": "last special token", "model": "model's own pooling",
}  # fmt: skip
_MODELS = {
    "minilm": "MiniLM", "gpt2": "GPT-2", "clip": "CLIP", "bert": "BERT", "roberta": "RoBERTa", "pythia": "Pythia",
    "distilbert": "DistilBERT", "mpnet": "MPNet",
}  # fmt: skip
N_PLACES = 7  # colours of a palette
_SALT = b"8599"  # gives MiniLM, the same untrained, GPT-2, CLIP, BERT, RoBERTa and Pythia different places


def space_labels(spaces: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return space → label, and what all spaces have in common.

    A label has the parts in which the spaces differ: ``mean of tokens`` for ``minilm.word.mean`` beside
    ``minilm.word.last``, which have ``MiniLM, words`` in common. A single space has no label but its whole name.
    """
    matches = [found for space in spaces if (found := _PARTS.fullmatch(space))]
    if len(matches) < len(spaces):  # with names that users gave
        return {space: space for space in spaces}, spaces[0] if len(spaces) == 1 else ""
    seeds = {found["seed"] for space in spaces if (found := _UNTRAINED.match(space))}
    parts = [
        (_model_label(match["model"], with_seed=len(seeds) > 1), _UNITS[match["unit"]],
         _POOLINGS.get(match["pooling"], match["pooling"]), match["more"] or "")
        for match in matches
    ]  # fmt: skip
    differs = [len({*names}) > 1 for names in zip(*parts, strict=True)]
    shared = ", ".join(name for name, is_own in zip(parts[0], differs, strict=True) if name and not is_own)
    if len(spaces) == 1:
        return {spaces[0]: shared}, shared
    labels = [
        ", ".join(name or "plain" for name, is_own in zip(names, differs, strict=True) if is_own) for names in parts
    ]
    return dict(zip(spaces, labels if len({*labels}) == len(spaces) else spaces, strict=True)), shared


def _model_label(model: str, *, with_seed: bool) -> str:
    """Return a model's name as its authors write it: ``MiniLM, untrained`` for ``minilm-untrained-0``."""
    if (found := _UNTRAINED.fullmatch(model)) is not None:
        seed = f" (seed {found['seed']})" if with_seed else ""
        return f"{_model_label(found['model'], with_seed=False)}{found['more']}, untrained{seed}"
    return re.sub(r"^[^-.]+", lambda first: _MODELS.get(first[0], first[0]), model)


def with_given_labels(found: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return space → label with those that a user gave.

    Raises:
        UnknownNameError: A label is given for a space that is not drawn.
        UsageError: Two spaces have the same label.
    """
    for space in given:
        if space not in found:
            raise UnknownNameError("space to label", space, found)
    labels = {**found, **given}
    if len({*labels.values()}) < len(labels):
        raise UsageError("two spaces have the same label: give each ⦃--label=SPACE=TEXT⦄ a text of its own.")
    return labels


def palette_places(spaces: Sequence[str], n: int) -> dict[str, int]:
    """Return space → its place in a palette of n colours; places from n on have the colour of place − n."""
    wanted = {space: _hash(space) % n for space in sorted(spaces)}
    owners: dict[int, str] = {}
    for space, place in wanted.items():
        owners.setdefault(place, space)
    for space, place in wanted.items():
        if owners[place] != space:
            free = next(at for turn in count() for step in range(n)
                        if (at := n * turn + (place + step) % n) not in owners)  # fmt: skip
            owners[free] = space
    return {space: place for place, space in owners.items()}


def _hash(space: str) -> int:
    match = _PARTS.fullmatch(space)
    return zlib.crc32(_SALT + (match["model"] if match else space).encode())
