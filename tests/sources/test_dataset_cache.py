"""Where datasets are kept, downloads, local copies, and the list."""

import gc
import hashlib
import re
from pathlib import Path

import pytest
from dataset_files import FILES, RG65, look_alike, put, serving

from embstore import Store
from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.sources.datasets import add_dataset, fetch_dataset, missing_datasets
from embstore.sources.opening import open_source
from embstore.sources.source import DataFile, data_folder

LISTED = {row["name"]: row for row in Store.datasets()}
pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch) as server:
        for name in ("rg65", "stsb", "stsb-wolfe2022"):
            spec = look_alike(monkeypatch, name, address=server.url)
            assert isinstance(spec.content, DataFile)
            server.files[spec.content.name] = FILES[name]
        yield server


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_the_folder_is_the_variables_else_the_platforms(monkeypatch, tmp_path):
    assert data_folder() == tmp_path / "data"
    monkeypatch.delenv("EMBSTORE_DATA")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, appauthor: tmp_path / name)
    assert data_folder() == tmp_path / "embstore" / "datasets"
    monkeypatch.setenv("EMBSTORE_DATA", "")
    assert data_folder() == tmp_path / "embstore" / "datasets"


def test_a_download_is_kept_and_repeated_only_if_the_file_was_altered(server, data):
    assert fetch_dataset("rg65") == data / "rg65.csv"
    assert (data / "rg65.csv").read_bytes() == RG65
    assert fetch_dataset("rg65") == data / "rg65.csv"
    assert server.requested == ["rg65.csv"]
    assert len(list(open_source("rg65").rows())) == 3
    assert [path.name for path in data.iterdir()] == ["rg65.csv"]
    (data / "rg65.csv").write_bytes(b"altered")
    fetch_dataset("rg65")
    assert (data / "rg65.csv").read_bytes() == RG65
    assert fetch_dataset("stsb") == fetch_dataset("stsb-wolfe2022"), "two readings of one file"
    assert fetch_dataset("words") is None, "what is made needs no download"
    assert server.requested == ["rg65.csv", "rg65.csv", "sts-test.csv"]


def test_the_progress_ends_with_the_size(server, monkeypatch):
    big = b"".join(b"a%d;b%d;%d\n" % (i, i, i) for i in range(5_000))
    look_alike(monkeypatch, "rg65", big, server.url)
    server.files["rg65.csv"] = big
    observed = []
    Store.fetch_datasets("rg65", observed.append)
    assert {(each.stage, each.subject, each.total) for each in observed} == {
        ("fetch", "rg65", len(big))
    }
    done = [each.done for each in observed]
    assert done == sorted(set(done))
    assert len(done) > 10
    assert observed[-1].done == len(big)


def test_what_is_another_file_not_there_or_breaks_off_is_not_kept(server, data):
    server.files["rg65.csv"] = b"a page that says: log in"
    with pytest.raises(
        SourceError, match=r"gave another file .* not kept.* embstore datasets add rg65"
    ) as caught:
        fetch_dataset("rg65")
    assert sha256(RG65) in str(caught.value)
    assert sha256(b"a page that says: log in") in str(caught.value)
    assert f"{server.url}/rg65.csv" in str(caught.value)
    server.missing_bytes = 10
    with pytest.raises(SourceError, match=r"cannot be downloaded: .*by hand"):
        fetch_dataset("rg65")
    server.files.clear()
    with pytest.raises(SourceError, match="the server says 404 Not Found") as caught:
        fetch_dataset("rg65")
    for part in (
        f"{server.url}/rg65.csv",
        "embstore datasets add rg65 rg65.csv",
        str(data / "rg65.csv"),
    ):
        assert part in str(caught.value)
    del caught
    gc.collect()
    assert not data.exists()


def test_all_are_tried_and_each_that_cannot_be_had_is_said(server, data):
    del server.files["sts-test.csv"]
    with pytest.raises(SourceError) as caught:
        Store.fetch_datasets(["stsb", "rg65", "words", "stsb-wolfe2022"])
    head, *reasons = str(caught.value).splitlines()
    assert head == "2 of 4 datasets could not be fetched (rg65, words are at hand):"
    assert (data / "rg65.csv").read_bytes() == RG65
    for name, line in zip(("stsb", "stsb-wolfe2022"), reasons, strict=True):
        assert line.startswith(
            f"  '{name}' cannot be downloaded: the server says 404 Not Found. Download "
        )
        for part in (
            f"{server.url}/sts-test.csv",
            f"datasets add {name} ",
            str(data / "sts-test.csv"),
        ):
            assert part in line
    for more, head in (
        ([], "2 of 2 datasets could not be fetched:"),
        (["rg65"], "2 of 3 datasets could not be fetched (rg65 is at hand):"),
    ):
        with pytest.raises(SourceError, match=f"^{re.escape(head)}\n"):
            Store.fetch_datasets(["stsb", *more, "stsb-wolfe2022"])
    del caught
    gc.collect()
    server.requested.clear()
    with pytest.raises(UnknownNameError, match="unknown dataset 'stbs'"):
        Store.fetch_datasets(["stsb", "stbs"])
    assert server.requested == []


def test_without_a_network_the_file_is_given_by_hand(monkeypatch, data, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(monkeypatch) as server:
        address = server.url
    look_alike(monkeypatch, "rg65", address=address)  # where nobody listens any more
    with pytest.raises(
        SourceError, match=r"'rg65' cannot be downloaded: Connection refused\. Download http"
    ) as caught:
        fetch_dataset("rg65")
    by_hand = re.search(r"or put it at (\S+)\)", str(caught.value))
    assert by_hand is not None
    Path(by_hand[1]).parent.mkdir()
    Path(by_hand[1]).write_bytes(RG65)
    assert len(list(open_source("rg65").rows())) == 3
    Path(by_hand[1]).unlink()
    (tmp_path / "rg65.csv").write_bytes(RG65)
    add_dataset("rg65", tmp_path / "rg65.csv")
    assert len(list(open_source("rg65").rows())) == 3


@pytest.mark.parametrize("name", ["rg66", "words:50", "", "rg65.csv", "../rg65"])
def test_an_unknown_dataset_cannot_be_fetched(name):
    with pytest.raises(UnknownNameError, match=r"unknown dataset .* embstore datasets lists them"):
        fetch_dataset(name)


def test_a_dataset_that_is_not_at_hand_says_how_to_get_it_and_has_no_size(data, monkeypatch):
    with pytest.raises(
        SourceError, match=rf"'rg65' is not at hand: there is no {data}/rg65\.csv\. .*fetch rg65"
    ):
        open_source("rg65")
    assert missing_datasets(["rg65", "words", "words:5", "a.txt", "-", "stsb", "rg65"]) == [
        "rg65",
        "stsb",
    ]
    put(data, monkeypatch, "rg65")
    with pytest.raises(UsageError, match="'rg65:2': the dataset 'rg65' is always whole"):
        open_source("rg65:2")
    with pytest.raises(UsageError, match=r"columns=.a. does not fit the dataset 'rg65'"):
        open_source("rg65", columns=["a"])


def test_a_local_copy_is_checked(monkeypatch, data, tmp_path):
    look_alike(monkeypatch, "rg65")
    copy = tmp_path / "any name"
    copy.write_bytes(RG65 + b"\n")
    with pytest.raises(
        SourceError, match=r"any name is not the file of the dataset 'rg65'.*https://"
    ) as caught:
        add_dataset("rg65", copy)
    assert sha256(RG65) in str(caught.value)
    assert sha256(RG65 + b"\n") in str(caught.value)
    assert not data.exists()
    copy.write_bytes(RG65)
    added = Store.add_dataset("rg65", copy)
    assert (added["name"], added["at_hand"], added["file"]) == (
        ["rg65"],
        [True],
        [str(data / "rg65.csv")],
    )
    assert (data / "rg65.csv").read_bytes() == RG65


def test_a_missing_copy_and_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    look_alike(monkeypatch, "rg65")
    with pytest.raises(
        UnknownNameError, match=r"Did you mean 'rg65'.*embstore datasets lists them"
    ):
        add_dataset("rg66", tmp_path / "none.csv")
    with pytest.raises(SourceError, match=r"none\.csv cannot be read: No such file"):
        add_dataset("rg65", tmp_path / "none.csv")
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        add_dataset("rg65", tmp_path)
    (tmp_path / "rg65.csv").write_bytes(RG65)
    monkeypatch.setenv("EMBSTORE_DATA", str(tmp_path / "rg65.csv"))
    with pytest.raises(SourceError, match=r"cannot be written: .*Set EMBSTORE_DATA"):
        add_dataset("rg65", tmp_path / "rg65.csv")


def test_the_list_says_what_is_damaged(data, monkeypatch):
    assert {row["damaged"] for row in LISTED.values()} == {False}
    put(data, monkeypatch, "rg65")
    put(data, monkeypatch, "simlex999")
    (data / "rg65.csv").write_bytes(RG65[:-1])
    table = Store.datasets()
    listed = {row["name"]: (row["at_hand"], row["damaged"]) for row in table}
    assert listed["rg65"] == (False, True)
    assert (listed["simlex999"], listed["words"], listed["men"]) == (
        (True, False),
        (True, False),
        (False, False),
    )
    [rg65] = table.notes
    for part in (
        str(data / "rg65.csv"),
        sha256(RG65),
        sha256(RG65[:-1]),
        "embstore datasets fetch rg65",
    ):
        assert part in rg65
    with pytest.raises(SourceError, match="rg65") as caught:
        open_source("rg65")
    assert str(caught.value) == rg65
    header, lines = table.layout()
    assert header == ["name", "kind", "unit", "rows", "at_hand", "damaged", "licence"]
    assert lines[1][4:6] == ["no", "yes"]


def test_the_list_has_address_hash_and_reference():
    row = LISTED["stsb"]
    assert (
        row["address"]
        == "https://raw.githubusercontent.com/wolferobert3/clip_contrastive_acl_2022/"
        "36108ea6fa4be58bea3bc68fd1d28f71140ab3a6/data/sts-test.csv"
    )
    assert row["sha256"] == "affe45928a66ee5a708531233c95b7dacbbdc57f974f002a3d32ea0180cf816a"
    assert row["columns"] == ["score", "genre", "file", "year", "id"]
    assert (row["unit"], row["rows"], row["score_min"], row["score_max"]) == (
        "sentence",
        1379,
        0.0,
        5.0,
    )
    for name, each in LISTED.items():
        assert each["citation"]
        assert (name == "words") == (each["address"] is None) == (each["sha256"] is None)
    # The two readings of STS-B are of one.
    assert len({each["sha256"] for each in LISTED.values()}) == len(LISTED) - 1
