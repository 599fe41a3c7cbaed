"""Every architecture that transformers has: accepted and equal to plain transformers, or refused,
and why.

``python docs/_architectures.py`` tries each in a small copy with random weights and writes
docs/architectures.md; with names it tries these and prints what it finds; with ``--update`` and
names it tries these and writes the page with what it says of the others.
"""

import os
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads it once

import numpy as np
import torch
import transformers as tf
from safetensors.torch import save_file
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from embstore.base.errors import CheckpointError, EmbstoreError
from embstore.base.space import Pooling, TopForm
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder
from embstore.encode.records import Encoded
from embstore.encode.tokens import Tokenizer

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests" / "support"))
from architecture_models import make, tokenizer  # noqa: E402
from encode_texts import TEXTS, passage  # noqa: E402
from hanging import cpu_limit  # noqa: E402

PAGE = DOCS / "architectures.md"
LIMIT = 1e-4
SECONDS = 90
NO_TEXT = "not a text model"
_T5 = ("t5", "mt5", "umt5")
_PAIRS = ("align", "altclip", "chinese_clip", "clipseg")
_TOWERS = ("WithProjection", "SiglipTextModel", "Siglip2TextModel")


@dataclass(frozen=True)
class Verdict:
    """What became of an architecture.

    Attributes:
        model_type: as configs name it.
        outcome: ``equal``, ``different``, ``refused``, or ``not tried`` where no small copy of it
            can be made.
        architecture: the class that was loaded.
        top_form: which side of the final norm layer L is from; empty without a final norm.
        shifted: whether transformers' hidden states begin after block 1.
        pads: whether batches are padded.
        worst: largest difference from plain transformers, relative to the vector's norm.
        reason: why it was refused or not tried.
    """

    model_type: str
    outcome: str
    architecture: str = ""
    top_form: str = ""
    shifted: bool = False
    pads: bool = True
    worst: float = 0.0
    reason: str = ""


def judge(model_type, folder):
    """Try an architecture in an empty folder."""
    try:
        with cpu_limit(SECONDS, _TooLongError):
            if not _reads_text(model_type, folder / "config"):
                return Verdict(model_type, "refused", reason=NO_TEXT)
            try:
                made = make(folder / "tiny", model_type)
            except Exception as error:  # whatever a config says of sizes that do not suit it
                return Verdict(
                    model_type, "not tried", reason=f"no small copy: {type(error).__name__}"
                )
            try:
                encoder = Encoder(resolve(str(made)), device="cpu")
            except CheckpointError as error:
                if "fails on a short text" in str(error) and (failure := _own_failure(made)):
                    return Verdict(
                        model_type, "not tried", reason=f"a plain call of transformers: {failure}"
                    )
                return Verdict(model_type, "refused", reason=_short(str(error)))
            try:
                plain = _plain(encoder, made)
                _call(plain, [1, 2])
            except Exception as error:
                return Verdict(
                    model_type,
                    "not tried",
                    reason=f"a plain call of transformers: {type(error).__name__}",
                )
            return _compared(model_type, encoder, plain)
    except _TooLongError:
        return Verdict(
            model_type, "not tried", reason=f"no small copy: more than {SECONDS} s of CPU time"
        )


def _reads_text(model_type, folder):
    """Whether a checkpoint with the default config of an architecture is taken for a text model."""
    folder.mkdir()
    (folder / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    tokenizer().save_pretrained(folder)
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
    try:
        Tokenizer.load(resolve(str(folder)))
    except EmbstoreError as error:
        return "not a text model" not in str(error)
    return True


def _compared(model_type, encoder, model):
    found = {}
    for result in encoder.encode(
        [[passage(text, n) for n, text in enumerate(TEXTS)]], poolings=[Pooling.MEAN]
    ):
        if not isinstance(result, Encoded):
            return Verdict(model_type, "different", encoder.architecture, reason=result.reason)
        found |= dict(
            zip(result.item_ids.tolist(), result.vectors[Pooling.MEAN].swapaxes(0, 1), strict=True)
        )
    shifted = encoder._contract.entry is not None
    worst = 0.0
    for n, text in enumerate(TEXTS):
        [row] = encoder.tokenizer.texts([text])
        for mine, candidates in zip(
            found[n], _expected(model, row.ids, encoder, shifted), strict=True
        ):
            worst = max(
                worst, min(_difference(mine, state[1:-1].mean(axis=0)) for state in candidates)
            )
    form = encoder.layers.top_form
    outcome = "equal" if worst <= LIMIT else "different"
    return Verdict(
        model_type,
        outcome,
        encoder.architecture,
        form.value if form else "",
        shifted,
        encoder._contract.pads,
        worst,
    )


def _plain(encoder, folder):
    """Return what transformers is called with in plain use: of an encoder-decoder its encoder, else
    a whole model.
    """
    config = tf.AutoConfig.from_pretrained(folder)
    is_multimodal = any(
        getattr(config, f"{mode}_config", None) is not None for mode in ("vision", "audio")
    )
    is_alone = config.model_type in _T5 or encoder.architecture.endswith(_TOWERS)
    is_part = not is_alone and (config.is_encoder_decoder or is_multimodal)
    cls = tf.AutoModel if is_part else getattr(tf, encoder.architecture)
    model = cls.from_pretrained(folder, dtype=torch.float32).eval()
    if is_part and config.is_encoder_decoder:
        model = model.get_encoder()
    elif config.model_type in _PAIRS:
        model = model.text_model
    elif (
        config.model_type == "llama4"
    ):  # a call of the whole model fails in transformers without an image
        model = model.language_model.model
    for part in model.modules():
        if hasattr(getattr(part, "config", None), "use_cache"):
            part.config.use_cache = False
    return model


def _own_failure(folder):
    """Return the kind of error that a small copy raises in plain transformers, by its sizes; empty
    if none.
    """
    model = tf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    try:
        _call(model.get_encoder() if model.config.is_encoder_decoder else model, [1, 2])
    except Exception as error:
        return type(error).__name__
    return ""


def _call(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), output_hidden_states=True)


def _expected(model, ids, encoder, shifted):
    """Return what each layer may be by the blocks' calls, where it is also what transformers calls
    that layer.

    Layer 0 is what the first block reads, layer i what block i gives or the next one reads.
    """
    calls = _Calls(model)
    with calls:
        outputs = _call(model, ids)
    t, n_blocks = len(ids), encoder.layers.n_blocks
    hidden = [state[0].numpy() for state in outputs.hidden_states]
    last = (
        hidden[-1]
        if getattr(outputs, "last_hidden_state", None) is None
        else outputs.last_hidden_state[0].numpy()
    )
    by_blocks = [[] for _ in range(n_blocks + 1)]
    for blocks in calls.of(n_blocks):
        by_blocks[0] += _rows(blocks[0][0], t)
        for number, (reads, gives) in enumerate(blocks):
            by_blocks[number] += _rows(reads, t) if number else []
            by_blocks[number + 1] += _rows(gives, t)
    named = [None, *hidden[:-2]] if shifted else hidden[:-1]
    layers = [
        [state for state in states if name is None or _difference(state, name) <= LIMIT]
        or [np.full_like(last, np.nan)]
        for name, states in zip(named, by_blocks, strict=False)
    ]
    raw = [*by_blocks[n_blocks], hidden[-2]] if shifted else by_blocks[n_blocks]
    match encoder.layers.top_form:
        case None:
            return [*layers, [last]]
        case TopForm.NORMED:
            return [*layers, [last], raw]
        case _:
            return [*layers, [hidden[-1]], [last]]


class _Calls:
    """What the members of each list of modules, and of each class in lists, read and give."""

    def __init__(self, model):
        self._groups = {}
        self._members = [
            (number, module)
            for number, owner in enumerate(model.modules())
            if isinstance(owner, torch.nn.ModuleList)
            for module in owner
        ]

    def __enter__(self):
        self._handles = []
        for number, module in self._members:
            groups = [self._groups.setdefault(key, []) for key in (number, type(module))]
            pair = []

            def begin(_module, args, kwargs, groups=groups, pair=pair):
                pair.append(
                    [[value.clone() for value in (*args, *kwargs.values()) if _is_state(value)], []]
                )
                for group in groups:
                    group.append(pair[-1])

            def end(_module, _args, output, pair=pair):
                values = output if isinstance(output, (tuple, list)) else [output]
                pair.pop()[1] = [value.clone() for value in values if _is_state(value)]

            self._handles += [
                module.register_forward_pre_hook(begin, with_kwargs=True),
                module.register_forward_hook(end),
            ]

    def __exit__(self, *_):
        for handle in self._handles:
            handle.remove()

    def of(self, n):
        """Return the calls of the groups that were called n times."""
        return [group for group in self._groups.values() if len(group) == n]


def _is_state(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim in (2, 3)


def _rows(tensors, t):
    """Return what may be the states of t tokens, (t, dim): with the batch before or after the
    tokens, or padded.
    """
    rows = []
    for tensor in tensors:
        if tensor.ndim == 3:
            tensor = tensor[0] if tensor.shape[0] == 1 else tensor[:, 0]
        if tensor.shape[0] >= t:
            rows.append(tensor[:t].numpy())
    return rows


def _difference(a, b):
    if a.shape != b.shape:
        return float("inf")
    difference = np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1).clip(1e-30)
    return float(np.max(difference)) if np.isfinite(difference).all() else float("inf")


def _short(reason):
    """Return the part of a refusal that differs from one architecture to the next."""
    for before, after in (
        ("): ", ". The architecture"),
        ("fails on a short text: ", ". embstore"),
        ("be loaded: ", ". "),
    ):
        if before in reason and after in reason:
            return (
                reason.partition(before)[2]
                .partition(after)[0]
                .replace("fails on a short text: ", "")
            )
    return reason.partition(". ")[0]


class _TooLongError(BaseException):
    """An architecture takes too long; no handler of errors on the way may take it for one of the
    model's.
    """


HEAD = """# Architectures

All {total} that transformers {transformers} has (with torch {torch}), each tried in a small copy with random weights by
`python docs/_architectures.py`, which writes this page.

* **{equal} are accepted and equal**: layer 0 is what the first block reads, layer i what block i gives, and each is
  what a plain call of transformers gives for the text alone, to within 1e-4 of the vector's norm.
  Of encoder-decoders it is the encoder that is read, of multimodal models the text tower or the language model: the
  class is that of the part.
* {different} are accepted and different.
* {refused} text models are refused.
* {others} are not text models.
* Of {untried} the script can make no small copy that transformers itself runs. embstore checks these, too, when it
  loads them.

## Accepted

* top: which side of the final norm layer L is from; the other one is stored beside it.
* shifted: transformers' hidden states begin after block 1, and embstore puts the embeddings before them.
* RWKV, DeBERTa-v2 with a convolution and ALBERT with inner groups: layers follow transformers' hidden states where
  these are not the outputs of blocks ([Layers](concepts/spaces.md#how-layers-are-verified)).
* padded: whether texts of different lengths share a batch.
* difference: the largest from plain transformers, relative to the vector's norm. It is rounding, which depends on the
  number of threads.

| model_type | class | top | shifted | padded | difference |
|---|---|---|---|---|---|
"""


def read_page(text):
    """Return what a page says of each architecture, and the versions of torch that it names."""
    accepted, _, rest = text.partition("## Accepted")[2].partition("## Refused")
    refused, _, rest = rest.partition("## Not tried")
    untried, _, others = rest.partition("## Not text models")
    found = []
    for name, cls, form, shifted, pads, worst in _cells(accepted):
        top, difference = form.strip("–"), float(worst)
        outcome = "equal" if difference <= LIMIT else "different"
        found.append(Verdict(name, outcome, cls, top, shifted == "yes", pads == "yes", difference))
    found += [Verdict(name, "refused", reason=reason) for name, reason in _cells(refused)]
    found += [Verdict(name, "not tried", reason=reason) for name, reason in _cells(untried)]
    found += [Verdict(name, "refused", reason=NO_TEXT) for name in others.strip().split(", ")]
    [versions] = re.findall(r"\(with torch ([\d., and]+)\)", text)
    return found, set(re.split(", | and ", versions))


def _cells(text):
    """Return the cells of a table's rows, without its head."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def page(verdicts, versions):
    """Return the table as a page, given the versions of torch that it was made with."""
    accepted = [each for each in verdicts if each.outcome in ("equal", "different")]
    refused = [each for each in verdicts if each.outcome == "refused" and each.reason != NO_TEXT]
    others = [each.model_type for each in verdicts if each.reason == NO_TEXT]
    untried = [each for each in verdicts if each.outcome == "not tried"]
    head = HEAD.format(
        total=len(verdicts),
        transformers=tf.__version__,
        torch=" and ".join(sorted(versions)),
        equal=sum(each.outcome == "equal" for each in accepted),
        refused=len(refused),
        others=len(others),
        different=sum(each.outcome == "different" for each in accepted),
        untried=len(untried),
    )
    rows = [
        f"| {each.model_type} | {each.architecture} | {each.top_form or '–'} |"
        f" {'yes' if each.shifted else 'no'} | {'yes' if each.pads else 'no'} | {each.worst:.0e} |"
        for each in accepted
    ]
    why = ["| model_type | why |", "|---|---|"]
    reasons = [
        [f"| {each.model_type} | {each.reason} |" for each in group] for group in (refused, untried)
    ]
    parts = [
        *rows,
        "",
        "## Refused",
        "",
        *why,
        *reasons[0],
        "",
        "## Not tried",
        "",
        *why,
        *reasons[1],
        "",
        "## Not text models",
        "",
        ", ".join(others),
        "",
    ]
    return head + "\n".join(parts)


def main(names):
    """Try the architectures of these names, or all, and write the page if they are all, or if it is
    to be updated.
    """
    tf.logging.set_verbosity_error()
    tf.logging.disable_progress_bar()
    names, is_update = [name for name in names if name != "--update"], "--update" in names
    verdicts, versions = [], {torch.__version__.partition("+")[0]}
    for name in names or sorted(MODEL_MAPPING_NAMES):
        with tempfile.TemporaryDirectory() as folder:
            verdicts.append(judge(name, Path(folder)))
        print(*(f"{value}" for value in vars(verdicts[-1]).values()), sep="\t", flush=True)
    print(Counter(each.outcome for each in verdicts), file=sys.stderr)
    if is_update:
        others, earlier = read_page(PAGE.read_text("utf-8"))
        verdicts = sorted(
            [each for each in others if each.model_type not in names] + verdicts, key=_model_type
        )
        versions |= earlier
    if is_update or not names:
        PAGE.write_text(page(verdicts, versions), "utf-8")


def _model_type(verdict):
    return verdict.model_type


if __name__ == "__main__":
    main(sys.argv[1:])
