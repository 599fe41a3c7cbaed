"""Cards: there and back, and what keeps two spaces apart."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Synthetic, synthetic_card

from embstore.base import atomic
from embstore.base.errors import DamagedError, SpaceMismatchError, UnsupportedFormatError
from embstore.base.space import Layers, Template, TopForm
from embstore.storage.files.card import CARD_FORMAT, Card, read_card
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction.commit import create_store, write_card
from embstore.storage.transaction.manifest import read_cards

Make = Callable[..., Synthetic]


@pytest.mark.parametrize(
    "card",
    [
        synthetic_card(),
        synthetic_card(top_form=None, revision=None),
        synthetic_card(unit="sentence", pooling="projection", top_form=TopForm.RAW),
        synthetic_card(template="{bos}é {text}{eos}", dtype="float16", layers="0,2,raw"),
    ],
)
def test_a_card_comes_back_as_it_was(tmp_path: Path, card: Card) -> None:
    paths = StorePaths(tmp_path)
    create_store(paths)
    write_card(paths, card)
    assert read_cards(paths) == {card.space: card}
    assert next(iter(json.loads(paths.card(card.space).read_text("utf-8")))) == "format"


def test_cards_are_in_order_of_their_names(tmp_path: Path) -> None:
    create_store(StorePaths(tmp_path))
    for name in ("b", "a", "c"):
        write_card(StorePaths(tmp_path), synthetic_card(name))
    assert list(read_cards(StorePaths(tmp_path))) == ["a", "b", "c"]


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
def test_another_space_under_the_same_name_is_refused_with_the_difference(field: str) -> None:
    assert list(CARD.differences(OTHERS[field])) == [field]
    with pytest.raises(SpaceMismatchError, match=rf"its {field} is .*, not .*name=") as caught:
        CARD.check_same_space(OTHERS[field])
    assert CARD.space in str(caught.value)


def test_layers_are_shown_by_name_and_long_values_cut() -> None:
    with pytest.raises(SpaceMismatchError, match=r"its layers is 0,1,2,3,raw, not 0,1\. "):
        CARD.check_same_space(OTHERS["layers"])


def test_versions_date_and_place_of_the_same_files_may_differ() -> None:
    CARD.check_same_space(replace(CARD, versions={"torch": "9"}, created="now", checkpoint="folder", max_tokens=3))


def test_an_altered_card_is_refused_and_named(make_store: Make) -> None:
    made = make_store(index=False)
    path = made.paths.card(made.space)
    path.write_bytes(path.read_bytes().replace(b'"pooling": "last"', b'"pooling": "mean"'))
    with pytest.raises(DamagedError, match="does not agree with the SHA-256 in it") as caught:
        made.store.query("anisotropy")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"unit": "phrase"}, {"template": "none"}, {"layers": [{"x": 1}]}, {"top_form": "up"}]
)
def test_a_document_that_is_no_card_is_named(tmp_path: Path, change: dict) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(atomic.document_bytes(CARD.to_dict() | change))
    with pytest.raises(DamagedError, match=r"x\.json is damaged: .*(unit|template|layers|top_form)"):
        read_card(path)
    path.write_bytes(atomic.document_bytes({"format": CARD_FORMAT}))
    with pytest.raises(DamagedError, match='is damaged: "space" is a required property'):
        read_card(path)


@pytest.mark.parametrize("version", ["1", None])
def test_a_card_of_another_format_is_refused_with_the_known_ones(tmp_path: Path, version: object) -> None:
    path = tmp_path / f"{CARD.space}.json"
    path.write_bytes(atomic.document_bytes(CARD.to_dict() | {"format": version}))
    with pytest.raises(DamagedError, match=f"format: {CARD_FORMAT} was expected"):
        read_card(path)


def test_a_card_of_an_earlier_format_says_to_build_again(tmp_path: Path) -> None:
    path = tmp_path / f"{CARD.space}.json"
    path.write_bytes(atomic.document_bytes(CARD.to_dict() | {"format": 1}))
    with pytest.raises(UnsupportedFormatError, match=r"has format 1 of a version before 0\.2\.0, .* from 2\. Build"):
        read_card(path)


def test_a_card_of_a_newer_format_says_to_upgrade(tmp_path: Path) -> None:
    path = tmp_path / f"{CARD.space}.json"
    path.write_bytes(atomic.document_bytes({"format": CARD_FORMAT + 1, "mystery": [1]}))
    with pytest.raises(
        UnsupportedFormatError, match=f"has format 3, and this embstore reads up to {CARD_FORMAT}. Upgrade"
    ):
        read_card(path)


MODEL = CARD.to_dict()["layers"]


@pytest.mark.parametrize(
    "change",
    [
        {"layers": MODEL[::-1]}, {"layers": [MODEL[0], *MODEL]}, {"layers": [*MODEL, {"id": 9, "name": "9"}]},
        {"layers": [{"id": 0, "name": "1"}]}, {"n_blocks": 2}, {"top_form": None},
    ],
)  # fmt: skip
def test_layers_that_no_model_has_are_named(tmp_path: Path, change: dict) -> None:
    path = tmp_path / f"{CARD.space}.json"
    path.write_bytes(atomic.document_bytes(CARD.to_dict() | change))
    with pytest.raises(DamagedError, match=r"its layers are not those of a model of \d blocks"):
        read_card(path)


def test_checkpoint_at_revision() -> None:
    assert CARD.checkpoint_at_revision == "toy/checkpoint@c0ffee"
    assert replace(CARD, revision=None).checkpoint_at_revision == "toy/checkpoint@sha256:000000000000"


def test_a_recipe_and_its_layers_come_back_and_are_compared() -> None:
    recipe = {
        "pooling": ["mean"], "include_prompt": True, "modules": [{"type": "Normalize"}], "max_seq_length": None,
        "do_lower_case": False, "prompt": "",
    }  # fmt: skip
    layers = Layers.of_recipe(3, TopForm.NORMED)
    card = replace(synthetic_card(unit="sentence", pooling="model"), recipe=recipe, layers=layers)
    assert Card.from_dict(card.to_dict()) == card
    other = replace(card, recipe={**recipe, "prompt": "query: ", "max_seq_length": 8})
    assert (
        card.describe_differences(other) == 'recipe.max_seq_length is null, not 8; recipe.prompt is "", not "query: "'
    )
    assert card.identity["recipe"] == recipe
    assert "recipe" not in synthetic_card().identity


def test_projection_layers_come_back() -> None:
    card = synthetic_card(unit="sentence", pooling="projection", n_blocks=12, top_form="raw")
    assert Card.from_dict(card.to_dict()).layers == Layers.of_projection(12, TopForm.RAW)
