"""Find the special tokens at the beginning and end of a text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mark:
    """The special token at the beginning or end of a text.

    Attributes:
        id: Token id; None if the checkpoint has no such token.
        text: String of the token; None if there is none.
        added: Whether the tokenizer adds it to every text.
    """

    id: int | None
    text: str | None
    added: bool

    @property
    def field(self) -> str | None:
        """Value of ``{bos}`` or ``{eos}`` in a template: "" if the tokenizer adds the token; None if there is none."""
        return "" if self.added else self.text


def marks(hf: Any) -> tuple[Mark, Mark]:
    """Return the beginning and end tokens of a Hugging Face tokenizer, found by tokenising one word."""
    encoding = hf("a", return_special_tokens_mask=True, return_attention_mask=False)
    ids, special = encoding["input_ids"], encoding["special_tokens_mask"]
    first = ids[0] if ids and special[0] else None
    last = ids[-1] if ids and special[-1] else None
    # Qwen3-Embedding ends its texts with the pad token.
    begin = _mark(hf, first, (hf.bos_token_id, hf.cls_token_id), ())
    end = _mark(hf, last, (hf.eos_token_id, hf.sep_token_id), (hf.pad_token_id,))
    return begin, end


def _mark(hf: Any, added: int | None, named: Iterable[int | None], others: Iterable[int | None]) -> Mark:
    """Return the special token that the tokenizer adds, if it is a named or another possible one; else a named one."""
    tokens = [token for token in named if token is not None]
    if added is not None and (added in tokens or added in others):
        return Mark(added, hf.convert_ids_to_tokens(added), True)
    if not tokens:
        return Mark(None, None, False)
    return Mark(tokens[0], hf.convert_ids_to_tokens(tokens[0]), False)


def begin_position(ids: Sequence[int], begin: Mark) -> int | None:
    """Return 0 if a text begins with its beginning token, else None."""
    return 0 if ids and begin.id is not None and ids[0] == begin.id else None


def end_position(ids: Sequence[int], end: Mark, clip_eos: int | None) -> int | None:
    """Return the position of the end token in a text; None if it is absent.

    Args:
        ids: Token ids of the text.
        end: End token of the tokenizer.
        clip_eos: ``eos_token_id`` of CLIP's config; None for other models. The position is the one that transformers
            pools: the first such id, or, for the legacy value 2, the first occurrence of the highest id (transformers
            PR 24773).
    """
    if not ids:
        return None
    if clip_eos is not None:
        wanted = max(ids) if clip_eos == 2 else clip_eos
        return ids.index(wanted) if wanted in ids else None
    return len(ids) - 1 if end.id is not None and ids[-1] == end.id else None
