"""Layer 0 is what the first block reads, and layer i what the i-th block gives: by hooks on blocks
named by hand.
"""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers as tf
from architecture_models import make
from encode_texts import passage
from encode_witness import worst

import embstore
from embstore.base.errors import CheckpointError
from embstore.base.space import Pooling, TopForm
from embstore.encode.checkpoint import resolve
from embstore.encode.contract import LAYER_CHECK
from embstore.encode.forward import Encoder
from embstore.encode.records import Encoded

pytestmark = pytest.mark.slow

TEXTS = ("The quick brown fox", "a dog", "She sells sea shells by the sea shore")

# Where the blocks are.
BLOCKS = {
    "mamba": lambda model: model.layers,
    "rwkv": lambda model: model.blocks,
    "xlstm": lambda model: model.blocks,
    "recurrent_gemma": lambda model: model.layers,
    "jamba": lambda model: model.layers,
    "openai-gpt": lambda model: model.h,
    "longformer": lambda model: model.encoder.layer,
    "xlnet": lambda model: model.layer,
    "t5": lambda model: model.encoder.block,
}


def first(value):
    return value[0] if isinstance(value, (tuple, list)) else value


def read_and_given(folder, blocks, text):
    """Return what the first block reads and what each gives, (1 + L, t, dim), and the last hidden
    state.
    """
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    kind = (
        tf.T5EncoderModel
        if tf.AutoConfig.from_pretrained(folder).model_type == "t5"
        else tf.AutoModel
    )
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    inputs, outputs = [], []

    def begin(_module, args, kwargs):
        inputs.append((args[0] if args else kwargs["hidden_states"]).clone())

    members = list(blocks(model))
    for block in members:
        block.register_forward_pre_hook(begin, with_kwargs=True)
        block.register_forward_hook(lambda _m, _i, out: outputs.append(first(out).clone()))
    encoding = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        model.config.use_cache = False
        last = model(**encoding).last_hidden_state[0]
    assert len(outputs) == len(members)
    t = len(last)
    states = [
        state.transpose(0, 1) if state.shape[0] > 1 else state for state in [inputs[0], *outputs]
    ]
    return torch.stack([state[0, :t] for state in states]).numpy(), last.numpy()


def encoded(encoder, texts):
    """Return the mean of the tokens of each text that are not special, (layers, dim)."""
    found = {}
    given = [passage(text, number) for number, text in enumerate(texts)]
    for result in encoder.encode([given], poolings=[Pooling.MEAN]):
        assert isinstance(result, Encoded), result
        found |= dict(
            zip(result.item_ids.tolist(), result.vectors[Pooling.MEAN].swapaxes(0, 1), strict=True)
        )
    return found


@pytest.mark.parametrize("model_type", BLOCKS)
def test_layers_are_what_the_blocks_read_and_give(tmp_path, model_type):
    folder = make(tmp_path / "tiny", model_type)
    encoder = Encoder(resolve(str(folder)), device="cpu")
    vectors = encoded(encoder, TEXTS)
    for number, text in enumerate(TEXTS):
        states, last = read_and_given(folder, BLOCKS[model_type], text)
        # The last block's own output is the layer after it.
        if encoder.layers.top_form is TopForm.NORMED:
            states = np.stack([*states[:-1], last, states[-1]])
        assert encoder.layers.n_blocks == 4
        assert worst(vectors[number], states[:, 1:-1].mean(axis=1)) <= 1e-4


def test_where_rwkv_scales_its_states_between_blocks_they_are_what_the_next_block_reads(tmp_path):
    folder = make(tmp_path / "tiny", "rwkv", num_hidden_layers=6, rescale_every=2)
    encoder = Encoder(resolve(str(folder)), device="cpu")
    states, last = read_and_given(folder, BLOCKS["rwkv"], TEXTS[0])
    states[2::2] /= 2
    states = np.stack([*states[:-1], last, states[-1]])
    assert worst(encoded(encoder, TEXTS)[0], states[:, 1:-1].mean(axis=1)) <= 1e-4


@pytest.mark.parametrize(
    "change",
    [
        lambda states: (*states[1:], states[-1]),
        lambda states: (states[0], states[2], states[1], *states[3:]),
        lambda states: (states[0], *states[:-2], states[-1]),
        lambda states: (states[0] * 2, *states[1:]),
        lambda states: states[1:],
        lambda states: (),
    ],
    ids=[
        "shifted without a raw top",
        "in another order",
        "shifted up",
        "another beginning",
        "too few",
        "none",
    ],
)
@pytest.mark.parametrize("model_type", ["gpt2", "bert"])
def test_states_that_are_not_the_blocks_are_refused(tmp_path, monkeypatch, model_type, change):
    checkpoint = resolve(str(make(tmp_path / "tiny", model_type)))
    kind = {"gpt2": tf.GPT2Model, "bert": tf.BertModel}[model_type]
    forward = kind.forward

    def changed(self, *args, **kwargs):
        outputs = forward(self, *args, **kwargs)
        outputs.hidden_states = change(outputs.hidden_states)
        return outputs

    monkeypatch.setattr(kind, "forward", changed)
    with pytest.raises(CheckpointError, match="cannot verify the layers of 'tiny'"):
        Encoder(checkpoint, device="cpu")


def test_the_architectures_that_were_shifted_are_known_and_new_cards_say_that_they_were_checked(
    tmp_path,
):
    kinds = []
    for model_type in ("mamba", "mamba2", "falcon_mamba", "rwkv"):
        encoder = Encoder(resolve(str(make(tmp_path / model_type, model_type))), device="cpu")
        ids = torch.tensor([[5, 7, 9]])
        with torch.inference_mode():
            first, *_ = encoder._model(ids, output_hidden_states=True).hidden_states
            begins_at_0 = torch.equal(first, encoder._model.get_input_embeddings()(ids))
        # mamba2's do since transformers 5.25.
        assert (encoder._contract.entry is None) == begins_at_0
        kinds.append(encoder.architecture)
    assert set(kinds) == {"FalconMambaModel", "Mamba2Model", "MambaModel", "RwkvModel"}
    store = embstore.Store(tmp_path / "store")
    (tmp_path / "words.txt").write_text("fox\ndog\n")
    for _ in range(2):  # the second time the card answers for the checkpoint
        store.build(str(tmp_path / "words.txt"), models=str(tmp_path / "rwkv"), device="cpu")
    [row] = store.info()
    assert (row["layers"], row["items"]) == ("0-4,raw", 2)
    assert store.info().notes == ()
    [card] = store.catalog.cards.values()
    assert card.layer_check == LAYER_CHECK
