"""Tokenise passages and map their spans to tokens, without running the model."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from embstore.base.errors import CheckpointError, UsageError
from embstore.base.space import Pooling, Template, Unit, check_pooling
from embstore.base.text import NOT_UNICODE, Passage, Span, is_unicode
from embstore.encode.checkpoint import Checkpoint
from embstore.encode.extra import first_sentence, need, quiet
from embstore.encode.models import fenced, load_config, max_tokens, text_part
from embstore.encode.recipe import read_recipe
from embstore.encode.records import Long, Skipped, TooLongError
from embstore.encode.spans import (
    BLANKS,
    Text,
    Token,
    Tokenised,
    Vocabulary,
    add_items,
    add_tokens,
    read_part,
    shifted,
    skip_all,
    token_items,
)

if TYPE_CHECKING:
    from embstore.encode.recipe import Recipe

# Maximum number of passages, and of characters, per window, to bound memory use.
WINDOW, WINDOW_CHARS = (16384, 16 << 20)

# Of the texts that are tokenised at a time: a tokenizer uses about 300 bytes for each.
_TOKENISED_CHARS = 1 << 18
_MAX_WITHOUT_WORDS = (
    1000  # tokens of a tokenizer whose vocabulary is missing: special ones, of which NLLB has 207
)


class Tokenizer:
    """The tokenizer of a checkpoint, with its supported templates and poolings.

    Attributes:
        max_tokens: Maximum input length in tokens, with special tokens; None if there is no limit.
        vocab_size: Number of tokens in the model's vocabulary; ids are below it.
        blanks: Tokens of a blank alone, by id.
        context: What ends a text that is too long, for messages.
        recipe: The checkpoint's own recipe, for the pooling ``model``; None if it declares none
            that can be followed.
        recipe_error: Reason why its recipe cannot be followed; empty if there is none, or if it
            can.
    """

    def __init__(self, hf: Any, config: Any, name: str) -> None:
        self.name = name
        part = text_part(config, name)
        self.max_tokens = max_tokens(hf, part)
        self.pad_id: int = 0 if hf.pad_token_id is None else hf.pad_token_id
        self.causal = part.is_causal
        self.has_projection = part.has_projection
        is_clip = config.model_type in ("clip", "clip_text_model")
        self._clip_eos: int | None = part.config.eos_token_id if is_clip else None
        self.context = f"the context of {name!r}"
        self.recipe: Recipe | None = None
        self.recipe_error = ""
        self._hf, self._config = hf, config
        hf.backend_tokenizer.encode_special_tokens = hf.split_special_tokens
        _keep_blanks(hf.backend_tokenizer)
        ids = {blank: hf.backend_tokenizer.token_to_id(blank) for blank in BLANKS}
        self.blanks = {number: blank for blank, number in ids.items() if number is not None}
        self._vocabulary = Vocabulary(
            hf.backend_tokenizer.id_to_token, frozenset(hf.all_special_ids)
        )
        self._has_type_ids = "token_type_ids" in hf.model_input_names
        self._begin, self._end = marks(hf)
        self.vocab_size: int = getattr(part.config, "vocab_size", None) or len(hf)

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> Self:
        """Load the tokenizer and config of a checkpoint, without its weights."""
        config = load_config(checkpoint)
        auto = need("transformers").AutoTokenizer
        with quiet(), fenced(checkpoint) as view:
            try:
                hf = auto.from_pretrained(view, trust_remote_code=False, local_files_only=True)
            except (
                Exception
            ) as error:  # tokenizers raises Exception, transformers half a dozen kinds
                raise CheckpointError(
                    f"the tokenizer of {checkpoint.name!r} in {checkpoint.folder} cannot be loaded:"
                    f" {first_sentence(error)}. embstore needs a fast tokenizer (tokenizer.json):"
                    " write it there with save_pretrained()."
                ) from error
        _check(hf, checkpoint)
        tokenizer = cls(hf, config, checkpoint.name)
        try:
            tokenizer.recipe = read_recipe(checkpoint.recipe_folder, checkpoint.name)
        except CheckpointError as error:
            tokenizer.recipe_error = str(error)
        if tokenizer.recipe is None and "/" in checkpoint.id and checkpoint.revision is not None:
            tokenizer.recipe_error = tokenizer.recipe_error or (
                f"no pooling 'model': {checkpoint.name!r} has no recipe of its own (modules.json)"
                f" in {checkpoint.folder}. If the hub has one, an earlier download left it out: hf"
                f" download {checkpoint.id}"
            )
        return tokenizer

    @property
    def bos(self) -> str | None:
        """Value of ``{bos}`` in templates: "" if the tokenizer adds the token; None if there is no
        such token.
        """
        return "" if self._begin.added else self._begin.text

    @property
    def eos(self) -> str | None:
        """Value of ``{eos}`` in templates, like :attr:`bos`."""
        return "" if self._end.added else self._end.text

    def template_strings(self, template: Template) -> tuple[str, str]:
        """Return the values of ``{bos}`` and ``{eos}`` in a template."""
        for field, value in (("bos", self.bos), ("eos", self.eos)):
            if field in template.fields and value is None:
                raise CheckpointError(
                    f"the template {template.pattern!r} has {{{field}}}, and the tokenizer of"
                    f" {self.name!r} has no such token: leave it out."
                )
        return self.bos or "", self.eos or ""

    def poolings_of(self, unit: Unit, template: Template) -> tuple[Pooling, ...]:
        """Return the poolings that the checkpoint supports for a unit and a template."""
        if unit is Unit.TOKEN:
            return (Pooling.LAST,)
        spans = tuple(pooling for pooling in Pooling if pooling.uses_span)
        if unit is Unit.OCCURRENCE:
            return spans
        begins, ends = self._special_tokens(template)
        of_text = ((Pooling.BOS, begins), (Pooling.EOS, ends))
        whole = (Pooling.MEAN_ALL, Pooling.WEIGHTED_ALL)
        known = [*spans, *whole, *(pooling for pooling, exists in of_text if exists)]
        if self.has_projection and ends and unit is Unit.SENTENCE:
            known.append(Pooling.PROJECTION)
        if self.recipe is not None:
            known.append(Pooling.MODEL)
        return tuple(known)

    def default_pooling(self, unit: Unit, template: Template) -> Pooling:
        """Return the default pooling of a unit and a template.

        Words and occurrences: ``last``, the last sub-token, or the token itself. Sentences:
        ``eos`` if the model is causal (only the last token depends on the whole sentence) and the
        tokenizer or the template adds an end token; else ``mean``. The recipe of a checkpoint comes
        before these, see
        :func:`embstore.build.job.plan_jobs`.
        """
        if unit is not Unit.SENTENCE:
            return Pooling.LAST
        return Pooling.EOS if self.causal and self._special_tokens(template)[1] else Pooling.MEAN

    def check(self, unit: Unit, pooling: Pooling, template: Template) -> None:
        """Check that the checkpoint supports a pooling for a unit and a template."""
        check_pooling(unit, pooling)
        known = self.poolings_of(unit, template)
        if pooling in known:
            return
        if pooling is Pooling.PROJECTION and not self.has_projection:
            reason = f"{self.name!r} has no text projection: only CLIP has one."
        elif pooling is Pooling.MODEL:
            if self.recipe_error:
                raise CheckpointError(self.recipe_error)
            reason = (
                f"{self.name!r} declares no recipe of its own, as sentence-transformers reads it"
                " (modules.json)."
            )
        else:
            mark, verb = (self._begin, "begins") if pooling is Pooling.BOS else (self._end, "ends")
            reason = (
                f"no text {verb} with a special token in {self.name!r} with the template"
                f" {template.pattern!r}."
            )
            if mark.text is not None and not mark.added:
                template_hint = "{text}{eos}" if self.bos is None else "{bos}{text}{eos}"
                reason += f" Put it there with template={template_hint!r}."
        raise UsageError(
            f"no pooling {pooling.value!r}: {reason} Known for {unit.value}s: {', '.join(known)}."
        )

    def texts(self, strings: Sequence[str]) -> list[Text]:
        """Tokenise strings, truncated to the maximum length, without items."""
        rows = self._tokenise(strings, truncated=True)
        return [Text(row.ids, self._type_ids(row), [], [], None, None) for row in rows]

    def windows(
        self, passages: Iterable[Passage], *, poolings: Collection[Pooling], long: Long
    ) -> Iterator[tuple[list[Text], list[Skipped]]]:
        """Tokenise passages in windows of at most 16,384 passages or about 16 million characters.

        Yield the texts of each window, and its skipped or truncated items.
        """
        for window in _groups(passages, WINDOW_CHARS):
            texts, skipped, valid = list[Text](), list[Skipped](), list[Passage]()
            for passage in window:
                if is_unicode(passage.text):
                    valid.append(passage)
                else:
                    skipped += skip_all(passage, NOT_UNICODE)
            for group in _groups(valid, _TOKENISED_CHARS):
                for text, dropped in self._group(group, poolings, long):
                    skipped += dropped
                    texts += [] if text is None else [text]
            yield texts, skipped

    def tokens(
        self, text: str, template: Template, *, truncated: bool = False
    ) -> tuple[list[Token], str]:
        """Return the tokens of a text in a template, in order, and why there are none or not all;
        "" if they are all.

        A text longer than the context has none, or with ``truncated`` those that it holds.
        """
        bos, eos = self.template_strings(template)
        string, offset = template.render(text, bos=bos, eos=eos)
        if not is_unicode(string):
            return [], NOT_UNICODE
        passage = Passage(string, (Span(offset, offset + len(text)),), (), text)
        [(part, tokens, cut)] = self._encodings([passage], "truncate" if truncated else "skip")
        return ([] if tokens is None else token_items(part, tokens, self._vocabulary)), cut

    def _group(
        self, passages: list[Passage], poolings: Collection[Pooling], long: Long
    ) -> Iterator[Tokenised]:
        """Yield the text of each passage with its items, and the skipped or truncated items."""
        for passage, tokens, cut in self._encodings(passages, long):
            if tokens is None:
                yield None, skip_all(passage, cut)
            else:
                yield self._with_items(passage, tokens, cut, poolings)

    def _encodings(self, passages: list[Passage], long: Long) -> Iterator[tuple[Passage, Any, str]]:
        """Tokenise several short passages, or one of any length, of which a part is tokenised.

        Yield each passage, or this part of it; its ``tokenizers.Encoding``, None if it is skipped;
        and the reason why it is skipped or truncated, else "".
        """
        limit, from_end = self.max_tokens, self._hf.truncation_side == "left"
        parts = [read_part(passage.text, limit, from_end=from_end) for passage in passages]
        for passage, part, tokens in zip(passages, parts, self._tokenise(parts), strict=True):
            n_tokens = len(tokens.ids)
            is_cut = len(part) < len(passage.text)
            if limit is not None and n_tokens > limit:
                n_shown = f"more than {limit}" if is_cut else f"{n_tokens}"
                cut = f"{n_shown} tokens, {self.context} holds {limit}"
                yield self._shorten(passage, part, cut, long)
            elif is_cut:
                end = "last" if from_end else "first"
                cut = (
                    f"its {end} {len(part):,} characters do not fill {self.context}, {limit}"
                    " tokens, and no more are read"
                )
                yield self._shorten(passage, None, cut, long)
            else:
                yield self._known(passage, tokens, "")

    def _truncated(self, text: str) -> Any:
        return self._tokenise([text], truncated=True)[0]

    def _tokenise(self, texts: Sequence[str], *, truncated: bool = False) -> Sequence[Any]:
        """Return the ``tokenizers.Encoding`` of each text, with lists created on access.

        The tokenizer of transformers calls the same backend, but converts each encoding to
        dictionaries of lists, which takes longer than tokenising for short texts.
        """
        backend = self._hf.backend_tokenizer
        backend.no_padding()
        if truncated and self.max_tokens is not None:
            backend.enable_truncation(self.max_tokens, direction=self._hf.truncation_side)
        else:
            backend.no_truncation()
        encodings: Sequence[Any] = backend.encode_batch(list(texts))
        return encodings

    def _type_ids(self, tokens: Any) -> list[int] | None:
        return tokens.type_ids if self._has_type_ids else None

    def _shorten(
        self, passage: Passage, part: str | None, cut: str, long: Long
    ) -> tuple[Passage, Any, str]:
        """Skip or truncate a passage that is too long, according to ``long``; raise TooLongError
        for ``error``.
        """
        if long == "error":
            raise TooLongError(
                f"the text {passage.text[:60]!r}… is too long: {cut}. Use long='skip' or"
                " long='truncate'.",
                passage.item_ids[0],
            )
        if long == "skip" or part is None:
            return passage, None, cut
        start = 0
        if self._hf.truncation_side == "left":
            start = len(passage.text) - len(part)
        shortened = passage._replace(text=part, spans=shifted(passage.spans, -start))
        return self._known(shortened, self._truncated(part), cut)

    def _known(self, passage: Passage, tokens: Any, cut: str) -> tuple[Passage, Any, str]:
        """Return a tokenised passage, which is skipped if the model lacks one of its tokens."""
        if (highest := max(tokens.ids, default=0)) >= self.vocab_size:
            return passage, None, f"the model has no token {highest}, which its tokenizer gives"
        return passage, tokens, cut

    def _with_items(
        self, passage: Passage, tokens: Any, cut: str, poolings: Collection[Pooling]
    ) -> Tokenised:
        """Return the text of a passage with its items, and the skipped or truncated items."""
        begin, end = self._ends(tokens.ids)
        text = Text(tokens.ids, self._type_ids(tokens), [], [], begin, end)
        if passage.context is not None:
            return add_tokens(passage, text, tokens, cut, self._vocabulary)
        return add_items(passage, text, tokens, poolings, cut, self.blanks)

    def _special_tokens(self, template: Template) -> tuple[bool, bool]:
        """Return whether texts of a template begin and end with special tokens, found by tokenising
        one word.
        """
        bos, eos = self.template_strings(template)
        word, _ = template.render("a", bos=bos, eos=eos)
        begin, end = self._ends(self._tokenise([word])[0].ids)
        return begin is not None, end is not None

    def _ends(self, ids: list[int]) -> tuple[int | None, int | None]:
        """Return the positions of the beginning and end tokens in a text; None for one that is
        absent.

        The position in CLIP is the one that transformers pools: that of the first end token of its
        config, or, for the legacy value 2, the first occurrence of the highest id (transformers PR
        24773).
        """
        if not ids:
            return None, None
        begin = 0 if self._begin.id is not None and ids[0] == self._begin.id else None
        if self._clip_eos is not None:
            wanted = max(ids) if self._clip_eos == 2 else self._clip_eos
            return begin, (ids.index(wanted) if wanted in ids else None)
        return begin, (
            len(ids) - 1 if self._end.id is not None and ids[-1] == self._end.id else None
        )


def _check(hf: Any, checkpoint: Checkpoint) -> None:
    """Check that a tokenizer of transformers has offsets and a vocabulary; raise CheckpointError if
    not.
    """
    if not getattr(hf, "is_fast", False):  # which a pair of tokenizers, as of RAG, does not have
        raise CheckpointError(
            f"{checkpoint.name!r} has only a slow tokenizer ({type(hf).__name__}), which does not"
            " say which token comes from which character: embstore needs a fast one"
            " (tokenizer.json)."
        )
    # Without the files of its vocabulary, transformers makes a tokenizer of special tokens, and
    # every word is unknown.
    backend = hf.backend_tokenizer
    if backend.get_vocab_size(with_added_tokens=False) > _MAX_WITHOUT_WORDS:
        return
    ordinary = {*backend.get_vocab(with_added_tokens=False)} - {
        *hf.all_special_tokens,
        *hf.get_added_vocab(),
    }
    if len(ordinary) <= 1:  # T5's has "▁"
        raise CheckpointError(
            f"the tokenizer of {checkpoint.name!r} in {checkpoint.folder} has no vocabulary, so"
            " that every word would be its unknown token: there is no tokenizer.json. Write it"
            " there with save_pretrained(), or download the checkpoint again."
        )


def _keep_blanks(backend: Any) -> None:
    """Let a backend tokenizer give each token the characters that it stands for, blanks included.

    Byte-level tokenizers may trim blanks off offsets (RoBERTa, BART, GPT-NeoX), so that a token of
    a blank has none.
    """
    processor = backend.post_processor
    is_sequence = isinstance(processor, need("tokenizers.processors").Sequence)
    for part in processor if is_sequence else [processor]:
        if hasattr(part, "trim_offsets"):
            part.trim_offsets = False


def _groups(passages: Iterable[Passage], max_chars: int) -> Iterator[list[Passage]]:
    """Group passages, up to numbers of passages and characters, except for a single longer one."""
    group: list[Passage] = []
    n_chars = 0
    for passage in passages:
        if len(group) == WINDOW or (group and n_chars + len(passage.text) > max_chars):
            yield group
            group, n_chars = [], 0
        group.append(passage)
        n_chars += len(passage.text)
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class Mark:
    """The special token at the beginning or end of a text."""

    id: int | None
    text: str | None
    added: bool  # whether the tokenizer adds it to every text


def marks(hf: Any) -> tuple[Mark, Mark]:
    """Return the beginning and end tokens of a Hugging Face tokenizer, found by tokenising one
    word.

    Each is the special token that the tokenizer adds, if it is a named or another possible one;
    else a named one.
    """
    encoding = hf("a", return_special_tokens_mask=True, return_attention_mask=False)
    ids, special = encoding["input_ids"], encoding["special_tokens_mask"]

    def mark(place: int, named: Iterable[int | None], others: Iterable[int | None] = ()) -> Mark:
        added = ids[place] if ids and special[place] else None
        tokens = [token for token in named if token is not None]
        is_added = added is not None and (added in tokens or added in others)
        chosen = added if is_added else next(iter(tokens), None)
        return Mark(chosen, None if chosen is None else hf.convert_ids_to_tokens(chosen), is_added)

    # Qwen3-Embedding ends its texts with the pad token.
    return mark(0, (hf.bos_token_id, hf.cls_token_id)), mark(
        -1, (hf.eos_token_id, hf.sep_token_id), (hf.pad_token_id,)
    )
