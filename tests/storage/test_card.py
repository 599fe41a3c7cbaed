"""Cards: there and back, and what keeps two spaces apart."""

import json
from dataclasses import replace

import pytest
from synthetic import synthetic_card

from embstore.base.errors import DamagedError, SpaceMismatchError, UnsupportedFormatError
from embstore.base.space import Layers, Template, TopForm
from embstore.storage.cache import StoreFiles, entry_of
from embstore.storage.card import CARD_FORMAT, Card, read_card
from embstore.storage.catalog import Catalog
from embstore.storage.keys import CARDS, make
from embstore.storage.manifest import Change
from embstore.storage.writer import write_card


@pytest.mark.parametrize(
    "card",
    [
        synthetic_card(),
        synthetic_card(top_form=None, revision=None),
        synthetic_card(unit="sentence", pooling="projection", top_form=TopForm.RAW),
        synthetic_card(template="{bos}é {text}{eos}", dtype="float16", layers="0,2,raw"),
    ],
)
def test_a_card_comes_back_as_it_was(tmp_path, card):
    files = StoreFiles.of_folder(tmp_path)
    files.commit(Change(write_card(files, card)))
    assert Catalog(tmp_path).cards == {card.space: card}
    [path] = (tmp_path / "spaces").glob(f"{card.space}-*.json")
    assert next(iter(json.loads(path.read_text("utf-8")))) == "format"


CARD = synthetic_card()
OTHERS = {
    "revision": replace(CARD, revision="another"),
    "weights_sha256": replace(CARD, weights_sha256="f" * 64),
    "tokenizer_sha256": replace(CARD, tokenizer_sha256="f" * 64),
    "config_sha256": replace(CARD, config_sha256="f" * 64),
    "template": replace(CARD, template=Template(" {text}")),
    "layers": replace(CARD, layers=CARD.layers.select("0,1")),
    "dim": replace(CARD, dim=9),
    "dtype": replace(CARD, dtype="float16"),
}


@pytest.mark.parametrize("field", OTHERS)
def test_another_space_under_the_same_name_is_refused_with_the_difference(field):
    assert list(CARD.differences(OTHERS[field])) == [field]
    with pytest.raises(SpaceMismatchError, match=rf"its {field} is .*, not ") as caught:
        CARD.check_same_space(OTHERS[field])
    assert CARD.space in str(caught.value)


def test_other_weights_are_named_after_their_checkpoint():
    other = replace(CARD, checkpoint="another", weights_sha256="f" * 64)
    assert list(CARD.differences(other)) == ["checkpoint", "weights_sha256"]


def test_versions_date_and_place_of_the_same_files_may_differ():
    CARD.check_same_space(
        replace(CARD, versions={"torch": "9"}, created="now", checkpoint="folder", max_tokens=3)
    )


LAYERS = CARD.to_dict()["layers"]
NO_MODEL = r"its layers are not those of a model of \d blocks"
REFUSED = [
    ({"unit": "phrase"}, DamagedError, r"\.json is damaged: .*unit"),
    ({"template": "none"}, DamagedError, r"\.json is damaged: .*template"),
    ({"format": "1"}, DamagedError, f"format: {CARD_FORMAT} was expected"),
    (
        {"format": CARD_FORMAT + 1, "mystery": [1]},
        UnsupportedFormatError,
        "has format 3, .* reads format 2. Upgrade",
    ),
    ({"layers": LAYERS[::-1]}, DamagedError, NO_MODEL),
    ({"layers": [LAYERS[0], *LAYERS]}, DamagedError, NO_MODEL),
    ({"layers": [*LAYERS, {"id": 9, "name": "9"}]}, DamagedError, NO_MODEL),
    ({"layers": [{"id": 0, "name": "1"}]}, DamagedError, NO_MODEL),
    ({"n_blocks": 2}, DamagedError, NO_MODEL),
    ({"top_form": None}, DamagedError, NO_MODEL),
]


@pytest.mark.parametrize(("change", "error", "match"), REFUSED)
def test_a_document_that_is_no_card_is_named(tmp_path, change, error, match):
    files = StoreFiles.of_folder(tmp_path / "store")
    (tmp_path / "card.json").write_text(json.dumps(CARD.to_dict() | change))
    entry = entry_of(tmp_path / "card.json")
    key = make(CARDS, entry["sha256"], name=CARD.space)
    files.write({key: tmp_path / "card.json"})
    with pytest.raises(error, match=match):
        read_card(files.file(key, entry), CARD.space)


def test_checkpoint_at_revision():
    assert CARD.checkpoint_at_revision == "toy/checkpoint@c0ffee"
    assert (
        replace(CARD, revision=None).checkpoint_at_revision == "toy/checkpoint@sha256:000000000000"
    )


def test_a_recipe_and_its_layers_come_back_and_are_compared():
    recipe = {
        "pooling": ["mean"], "include_prompt": True, "modules": [{"type": "Normalize"}],
        "max_seq_length": None,
        "do_lower_case": False, "prompt": "",
    }  # fmt: skip
    layers = Layers.of_recipe(3, TopForm.NORMED)
    card = replace(synthetic_card(unit="sentence", pooling="model"), recipe=recipe, layers=layers)
    assert Card.from_dict(card.to_dict()) == card
    other = replace(card, recipe={**recipe, "prompt": "query: ", "max_seq_length": 8})
    assert (
        card.describe_differences(other)
        == 'recipe.max_seq_length is null, not 8; recipe.prompt is "", not "query: "'
    )
    assert card.to_dict()["recipe"] == recipe
    assert "recipe" not in synthetic_card().to_dict()
