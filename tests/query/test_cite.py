"""References as BibTeX: of embstore, metrics, datasets and checkpoints, parsed by bibtexparser."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import bibtexparser
import pytest
from datasets_written import write_pairs
from synthetic import synthetic_card, synthetic_store

import embstore
from embstore import Store
from embstore.base.errors import UnknownNameError
from embstore.metrics import METRICS
from embstore.query import cite as citing
from embstore.query.cite import CHECKPOINTS, COLUMNS, COMMANDS, PARTS, publications
from embstore.sources.datasets import DATASETS

ROOT = Path(__file__).parents[2]


def parsed(text):
    """The fields of each entry by key; the text must be BibTeX from end to end."""
    library = bibtexparser.parse_string(str(text))
    assert not library.failed_blocks
    assert len(library.blocks) == len(library.entries)
    return {
        entry.key: {field.key: field.value for field in entry.fields} for entry in library.entries
    }


@pytest.fixture
def store(tmp_path):
    synthetic_store(tmp_path / "store", n=20, index=False)
    return Store(tmp_path / "store")


def test_the_file_of_publications_is_bibtex():
    text = (ROOT / "embstore" / "query" / "references.bib").read_text("utf-8")
    entries = parsed(text)
    assert list(entries) == sorted(entries) == list(publications())
    for key, fields in entries.items():
        assert {"author", "title", "year"} <= set(fields), key
        surname = re.sub(r"\\[a-z]|[^a-z]", "", fields["author"].partition(",")[0].lower())
        assert re.sub(r"\d{4}.*", "", key) in surname, key
        assert re.search(r"\d{4}", key)[0] == fields["year"]


def test_every_publication_is_used_and_every_reference_is_there():
    used = {key for metric in METRICS.values() for key in metric.references}
    used |= {key for spec in DATASETS.values() for key in spec.references}
    others = (CHECKPOINTS, COMMANDS, COLUMNS, PARTS)
    used |= {key for known in others for keys in known.values() for key in keys}
    assert used == set(publications())


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_the_references_of_a_metric_are_those_that_its_citation_names(metric):
    entries = parsed("\n\n".join(publications()[key] for key in metric.references))
    years = re.findall(r"\((\d{4})\)", metric.citation)
    assert sorted(fields["year"] for fields in entries.values()) == sorted(years)
    for fields in entries.values():
        surname = fields["author"].partition(",")[0].replace("{\\'c}", "ć")
        assert surname in metric.citation


@pytest.mark.parametrize("spec", DATASETS.values(), ids=lambda spec: spec.name)
def test_the_first_reference_of_a_dataset_is_its_citation(spec):
    fields = parsed(publications()[spec.references[0]])[spec.references[0]]
    title = re.sub("[{}]", "", fields["title"])
    assert title.lower() in spec.citation.lower()
    assert f"({fields['year']})" in spec.citation
    assert spec.citation.endswith(fields.get("doi", fields.get("url")))


def test_embstore_is_cited_as_its_files_say():
    [(key, fields)] = parsed(Store("store").cite("embstore")).items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    cff = (ROOT / "CITATION.cff").read_text("utf-8")
    assert key == "embstore"
    assert fields["version"] == embstore.__version__ == project["version"]
    assert f"\nversion: {project['version']}\n" in cff
    assert f'repository-code: "{project["urls"]["Repository"]}"' in cff
    assert f"\nlicense: {project['license']}\n" in cff
    assert f'- name: "{project["authors"][0]["name"]}"' in cff
    assert fields["author"] == f"{{{project['authors'][0]['name']}}}"
    assert f'title: "{re.sub("[{}]", "", fields["title"])}"' in cff
    assert "abstract:" in cff


def test_a_store_is_cited_by_its_checkpoints_datasets_and_answers(store):
    assert list(parsed(store.cite())) == ["embstore", "checkpoint-toy-checkpoint"]
    store.query("norms")
    store.query("isoscore", layers="0")
    store.refresh()
    found = store.cite()
    assert list(parsed(found))[:1] == ["embstore"]
    assert {"rudman2022", "rudman2024"} <= set(parsed(found))
    assert len(found.notes) == 1
    assert found.notes[0].startswith("toy/checkpoint: no publication is known for this checkpoint.")


def test_names_of_every_kind(store):
    assert list(parsed(store.cite(["cka", "stsb"]))) == [*METRICS["cka"].references, "cer2017"]
    assert (
        list(parsed(store.cite("toy.word.last")))
        == list(parsed(store.cite("toy")))
        == ["checkpoint-toy-checkpoint"]
    )
    assert list(parsed(store.cite(["gpt2", "openai-community/gpt2-large"]))) == ["radford2019"]
    assert list(parsed(store.cite("minilm"))) == ["wang2020minilm", "reimers2019"]
    assert list(parsed(store.cite("wolfe2022"))) == ["wolfe2022"]
    with pytest.raises(UnknownNameError, match=r"'isoscor'.*isoscore"):
        store.cite("isoscor")


@pytest.mark.parametrize(
    ("call", "keys"),
    [
        (lambda store: store.query("uniformity"), ["wang2020"]),
        (lambda store: store.query("norms", layers=0), []),
        (lambda store: store.map(layers=0, method="pca"), []),
        (lambda store: store.drift("text1", layers="0,1", k=3), ["gonen2020", "hamilton2016"]),
    ],
)
def test_a_result_is_cited_by_its_columns_and_spaces(store, call, keys):
    found = parsed(store.cite(result=call(store)))
    assert found.keys() - METRICS["norms"].references == {
        "embstore",
        *keys,
        "checkpoint-toy-checkpoint",
    }


def test_the_tests_of_a_result_are_cited(make_store):
    made = make_store(n=30, index=False)
    write_pairs(made)
    tested = made.store.query("similarity", versus=0)
    assert "holm1979" in parsed(made.store.cite(result=tested))
    shuffled = made.store.query("cka", permutations=20, layers=[0, 1])
    assert "groger2026" in parsed(made.store.cite(result=shuffled))
    plain = {*parsed(made.store.cite(result=made.store.query("cka", layers=[0, 1])))}
    assert not plain & {"holm1979", "groger2026"}
    ask = made.store.query
    in_groups, in_halves = ask("anisotropy", ci=True), ask("intrinsic-dimension", ci=True, layers=0)
    assert "shao1995" in parsed(made.store.cite(result=in_groups))
    assert "shao1995" not in parsed(made.store.cite(result=in_halves))
    assert "shao1995" not in parsed(made.store.cite(result=ask("anisotropy")))


def test_a_result_of_another_command_names_its_checkpoints(store):
    found = store.cite(result=store.neighbours("text1", layers="0"))
    assert list(parsed(found)) == ["embstore", "checkpoint-toy-checkpoint"]
    assert found.notes[0].startswith("no metric has the columns of the result")


def test_what_is_known_of_checkpoints_is_cited():
    card = replace(synthetic_card(), revision="abc")
    entries = parsed(
        "\n\n".join(citing._cite_card(replace(card, checkpoint="openai/clip-vit-base-patch32"))[0])
    )
    assert entries["checkpoint-openai-clip-vit-base-patch32"] == {
        "title": "openai/clip-vit-base-patch32",
        "url": "https://huggingface.co/openai/clip-vit-base-patch32",
        "note": "Revision abc",
    }
    assert "radford2021" in entries
    hostile = replace(card, checkpoint="a}{_%\\end\x1b[2J", revision=None)
    [text], [note] = citing._cite_card(hostile)
    assert parsed(citing.Bibliography((text,)))
    assert "\x1b" not in str(citing.Bibliography((text,)))
    assert "no publication is known" in note


def test_a_table_of_a_users_own_has_no_reference():
    assert citing._cite_dataset("mine") == (
        [],
        ["mine: no reference is known for this dataset, which is a table of a user's own."],
    )


def test_a_metric_of_another_package(monkeypatch):
    own = replace(
        METRICS["norms"],
        name="mine",
        package="their-package 1.0",
        references=(),
        citation="Me (2020) & you",
    )
    monkeypatch.setattr(citing, "all_metrics", lambda: (METRICS | {"mine": own}, []))
    found = Store("store").cite("mine")
    assert parsed(found)["metric-mine"]["note"] == "Me (2020) \\& you"
    assert found.notes == (
        "mine: their-package 1.0 gives its reference as text only: Me (2020) & you",
    )
    entry = "@misc{me2020,\n  title = {Mine}\n}"
    monkeypatch.setattr(
        citing, "all_metrics", lambda: ({"mine": replace(own, references=(entry,))}, [])
    )
    assert list(parsed(Store("store").cite("mine"))) == ["me2020"]
