"""What cannot be imported is refused: with the place, and without a trace in the store."""

import gzip
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embstore import Store
from embstore.base.errors import EmbstoreError, SourceError
from embstore.base.space import Unit
from embstore.interop.formats import open_vectors
from embstore.interop.importing import choose_layers
from embstore.interop.read_arrays import array_file
from embstore.interop.vector_file import ReadOptions

TEXT = {
    "empty key": (b"2 2\n 1 2\nb 3 4\n", r"a.txt:2: the key is empty"),
    "empty line": (b"2 2\na 1 2\n\n", r"a.txt: .*Row #3: .*invalid value ''"),
    "duplicate": (
        b"3 2\na 1 2\nb 3 4\na 5 6\n",
        r"a.txt:4: 'a' is there twice, first at .*a.txt:2",
    ),
    "space in a key": (
        b"2 2\na 1 2\nnew york 3 4\n",
        r"a.txt: .*Row #3: Expected 3 columns, got 4: new york 3 4. Each line is a key .*without",
    ),
    "ragged": (b"2 2\na 1 2\nb 3\n", r"a.txt: .*Row #3: Expected 3 columns, got 2"),
    "NaN": (
        b"2 2\na 1 2\nb nan 4\n",
        r"a.txt:3: the vector of 'b' has a component of size nan, which is not finite",
    ),
    "infinite": (
        b"2 2\na 1 inf\nb 1 4\n",
        r"a.txt:2: the vector of 'a' has a component of size inf",
    ),
    "too large": (
        b"2 2\na 1 1e39\nb 1 4\n",
        r"a.txt:2: the vector of 'a' has a component of size 1e\+39",
    ),
    "no number": (b"2 2\na 1 2\nb x 4\n", r"a.txt: .*Row #3: .*invalid value 'x'"),
    "cut": (b"3 2\na 1 2\nb 3 4\n", r"its header says 3 vectors, and it has 2"),
    "longer than said": (b"1 2\na 1 2\nb 3 4\n", r"its header says 1 vectors, and it has 2"),
    "invalid UTF-8": (b"2 2\na 1 2\n\xff\xfe 3 4\n", r"a.txt: .*Row #3: .*invalid UTF8"),
    "no vectors": (b"0 2\n", r"a.txt:1: '0 2' is not the header"),
    "huge dimension": (b"2 99999999\na 1\n", r"a.txt:1: '2 99999999' is not the header"),
    "no numbers": (b"just some prose\nof two lines\n", r"a.txt: .*Row #1: .*invalid value 'some'"),
    "no room": (
        b"10000000000000 300\na 1 2\n",
        r"10,000,000,000,000 vectors, .* needs 24000.0 TB in .* are free",
    ),
    "empty file": (b"", r"a.txt is empty"),
}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.mark.parametrize(("data", "message"), TEXT.values(), ids=TEXT)
@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_line_is_named(store, tmp_path, data, message, packed):
    file = tmp_path / ("a.txt.gz" if packed else "a.txt")
    file.write_bytes(gzip.compress(data) if packed and data else data)
    with pytest.raises(EmbstoreError, match=message.replace("a.txt", file.name)):
        store.import_vectors(file, "mine")
    assert not store.path.exists(), "a store that was begun is removed"


def test_a_header_is_needed_where_the_format_has_one(store, tmp_path):
    (tmp_path / "a.txt").write_text("a 1 2\n")
    with pytest.raises(EmbstoreError, match=r"a.txt:1: 'a 1 2' is not the header .*format=.glove"):
        store.import_vectors(tmp_path / "a.txt", "mine", format="word2vec")


def test_a_file_of_glove_has_numbers_after_its_keys(store, tmp_path):
    (tmp_path / "a.txt").write_text("cat\ndog\n")
    with pytest.raises(EmbstoreError, match=r"a.txt:1: the line has no numbers after its key"):
        store.import_vectors(tmp_path / "a.txt", "mine", format="glove")
    (tmp_path / "a.txt").write_text("cat 0.5\ndog 2\n")
    store.import_vectors(tmp_path / "a.txt", "mine", format="glove")
    _, texts, vectors = store.vectors("mine", 0)
    assert dict(zip(texts, vectors.tolist(), strict=True)) == {"cat": [0.5], "dog": [2.0]}


def _arrays(folder, array, texts="a\nb\n"):
    np.save(folder / "a.npy", array, allow_pickle=True)
    (folder / "texts.txt").write_text(texts)
    return folder / "a.npy", folder / "texts.txt"


ARRAYS = {
    "fewer texts": (np.ones((3, 2)), "a\nb\n", r"has 3 vectors, and another number of texts"),
    "more texts": (np.ones((1, 2)), "a\nb\n", r"has 1 vectors, and another number of texts"),
    "one axis": (np.ones(2), "a\nb\n", r"no vectors: its shape is \(2,\)"),
    "no rows": (np.ones((0, 2)), "a\nb\n", r"no vectors: its shape is \(0, 2\)"),
    "complex": (np.ones((2, 2), complex), "a\nb\n", r"complex128, and vectors are real numbers"),
    "NaN in a layer": (
        np.array([[[1, 2], [3, 4]], [[1, 2], [np.nan, 4]]]),
        "a\nb\n",
        r"a.npy:2: .* not finite",
    ),
    "empty text": (np.ones((2, 2)), "a\n\n", r"a.npy:2: the key is empty"),
    "a text twice": (np.ones((2, 2)), "a\na\n", r"a.npy:2: 'a' is there twice, first at .*a.npy:1"),
    "pickled": (
        np.array([[1, 2], [3]], dtype=object),
        "a\nb\n",
        r"holds pickled objects, which can run code",
    ),
}


@pytest.mark.parametrize(("array", "texts", "message"), ARRAYS.values(), ids=ARRAYS)
def test_a_wrong_array_is_refused(store, tmp_path, array, texts, message):
    file, names = _arrays(tmp_path, array, texts)
    with pytest.raises(EmbstoreError, match=message):
        store.import_vectors(file, "mine", texts=names)
    assert not store.path.exists()


def _npy(array):
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


DEEP = b'{"text": "a"}\n{"text": ' + b"[" * 100_000 + b"\n"
FILES = {
    "cut array": ({"a.npy": _npy(np.ones((2, 2)))[:-8], "t.txt": b"a\nb\n"}, "ends too early"),
    "no texts": ({"a.npy": _npy(np.ones((2, 2)))}, "texts="),
    "deep text": (
        {"a.npy": _npy(np.ones((2, 2))), "t.jsonl": DEEP},
        r"t.jsonl:2: not JSON with a text \(it is nested too deeply\)",
    ),
    "damaged gzip": (
        {"a.txt.gz": gzip.compress(b"1 2\na 1 2\n" * 1000)[:-20]},
        r"ends too early|is damaged",
    ),
    "other dimensions": (
        {"a.txt": b"1 2\na 1 2\n", "b.txt": b"1 3\nb 1 2 3\n"},
        r"has the dimension 3 and 1 layer, and .* the dimension 2",
    ),
}


@pytest.mark.parametrize(("files", "message"), FILES.values(), ids=FILES)
def test_a_wrong_file_is_refused(store, tmp_path, files, message):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in files]
    texts = paths.pop() if paths[-1].name.startswith("t.") else None
    with pytest.raises(EmbstoreError, match=message):
        store.import_vectors(paths, "mine", texts=texts)


def test_pickles_are_loaded_if_that_is_allowed(store, tmp_path):
    rows = np.empty(2, object)
    rows[:] = [[1.0, 2.0], [3.0, 4.0]]
    file, names = _arrays(tmp_path, rows)
    report = store.import_vectors(file, "mine", texts=names, allow_pickle=True)
    assert any("unpickled" in note for note in report.notes)
    assert sorted(store.vectors("mine", 0)[2].tolist()) == [[1, 2], [3, 4]]
    rows[1] = [3.0]
    np.save(file, rows, allow_pickle=True)
    with pytest.raises(EmbstoreError, match="not vectors of one length"):
        store.import_vectors(file, "ragged", texts=names, allow_pickle=True)


@pytest.mark.parametrize("header", ["[" * 100_000, '{"a": ' * 900 + "1" + "}" * 900, "{}", ""])
def test_a_hostile_header_of_safetensors_is_refused(store, tmp_path, header):
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(EmbstoreError, match=r"a.safetensors (is not safetensors|has 0 arrays)"):
        store.import_vectors(file, "mine")
    assert not store.path.exists()


def _table(**columns):
    return pa.table(columns)


TABLES = {
    "ragged": (
        _table(text=["a", "b"], v=pa.array([[1.0, 2.0], [3.0]])),
        r"a.parquet:2: the vector is of 1 numbers, where",
    ),
    "null": (
        _table(text=["a", "b"], v=pa.array([[1.0], None])),
        r"a.parquet:2: the vector is null",
    ),
    "null component": (
        _table(text=["a", "b"], v=pa.array([[1.0], [None]])),
        r"a.parquet:2: a component of the vector is null",
    ),
    "null text": (
        _table(text=["a", None], v=pa.array([[1.0], [2.0]])),
        r"a.parquet:2: text is null",
    ),
    "no vectors": (_table(text=["a"], v=["b"]), r"no column of vectors"),
    "several": (
        _table(text=["a"], v=pa.array([[1.0]]), w=pa.array([[1.0]])),
        r"several columns of vectors, v, w",
    ),
    "no texts": (_table(v=pa.array([[1.0]])), r"Name the one with the texts"),
    "no rows": (
        _table(text=pa.array([], pa.string()), v=pa.array([], pa.list_(pa.float32()))),
        r"has no rows",
    ),
    "layers of other items": (
        _table(text=["a", "b"], layer=[0, 1], v=pa.array([[1.0], [2.0]])),
        r"do not have the same items in the same order",
    ),
    "a layer that lacks an item": (
        _table(text=["a", "b", "a"], layer=[0, 0, 1], v=pa.array([[1.0], [2.0], [3.0]])),
        r"do not have the same items in the same order",
    ),
}


@pytest.mark.parametrize(("table", "message"), TABLES.values(), ids=TABLES)
def test_a_wrong_table_is_refused(store, tmp_path, table, message):
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(EmbstoreError, match=message):
        store.import_vectors(tmp_path / "a.parquet", "mine")
    assert not store.path.exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "a/b"}, "cannot name a space"),
        ({"format": "word2vek"}, "unknown format 'word2vek'. Did you mean 'word2vec'"),
        ({"unit": "words"}, "unknown unit"),
        ({"dtype": "float8"}, "unknown dtype"),
        ({"index": "tree"}, "unknown kind of index"),
        ({"layers": "x"}, "not a list of layers"),
        ({"layers": "3,2"}, "ascending numbers"),
        ({"unit": "occurrence"}, "has no sentences of its words"),
        (
            {"texts": "a.txt"},
            r"a.txt: `texts` is for arrays without texts, and this format has its own",
        ),
        ({"column": "word"}, r"a.txt: `column` is for files with columns"),
        ({"vector_column": "v"}, r"a.txt: `vector_column` is for files with several columns"),
    ],
)
def test_a_wrong_option_is_refused(store, tmp_path, call, message):
    (tmp_path / "a.txt").write_text("1 2\na 1 2\n")
    with pytest.raises(EmbstoreError, match=message):
        store.import_vectors(tmp_path / "a.txt", **{"name": "mine", **call})
    assert not store.path.exists()


def test_a_folder_and_an_unknown_type_are_refused(store, tmp_path):
    (tmp_path / "a.xyz").write_text("a")
    (tmp_path / "a.kv").write_text("a")
    for path, message in (
        (".", "has no file of vectors"),
        ("a.xyz", "unknown file type '.xyz'"),
        ("a.kv", "save_word2vec_format"),
    ):
        with pytest.raises(EmbstoreError, match=message):
            store.import_vectors(tmp_path / path, "mine")


def test_a_vector_beyond_float16_is_refused_with_the_remedy(store):
    with pytest.raises(
        EmbstoreError,
        match=r"component of size 70000, .* above 65504, the most of float16.*float32",
    ):
        store.add_vectors("mine", ["a", "b"], np.array([[1.0], [70000.0]]), dtype="float16")


def test_spans_that_are_not_the_word_are_refused(store, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1, 2), np.float32))
    (tmp_path / "a.jsonl").write_text(
        '{"text": "bank", "context": "the bank", "start": 3, "end": 7}\n'
    )
    with pytest.raises(EmbstoreError, match="the characters 3 to 7 of its context are not 'bank'"):
        store.import_vectors(
            tmp_path / "a.npy", "mine", texts=tmp_path / "a.jsonl", unit="occurrence"
        )
    with pytest.raises(EmbstoreError, match="Import them with unit='occurrence'"):
        store.import_vectors(tmp_path / "a.npy", "mine", texts=tmp_path / "a.jsonl")


@pytest.mark.slow
def test_a_card_that_could_not_be_read_again_is_not_written(store, tmp_path):
    """A space whose card no command can read would take the whole store with it."""
    store.add_vectors("before", ["a"], np.ones((1, 2)))
    with pytest.raises(
        EmbstoreError, match=r"the array has 4,099 layers, and a space has at most 4,097"
    ):
        store.add_vectors("layers", ["a", "b"], np.ones((4_099, 2, 1)))
    assert (
        choose_layers([array_file(["a"], np.ones((4_097, 1, 1)), Unit.WORD)], None).ids[-1] == 4_096
    )
    assert store.info()["space"] == ["before"]
    assert store.verify().ok


@pytest.mark.parametrize("shape", ["(-1, 2)", "(-2, -2)", "(0, -4)", f"({10**20}, 2)", "(True, 2)"])
@pytest.mark.parametrize("name", ["a.npy", "t.npy"])
def test_an_array_of_an_impossible_shape_is_refused(store, tmp_path, shape, name):
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.float32))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    data = b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b"\n" + bytes(16)
    (tmp_path / name).write_bytes(data)
    (tmp_path / "t.txt").write_text("a\nb\n")
    texts = tmp_path / (name if name == "t.npy" else "t.txt")
    with pytest.raises(SourceError, match=rf"{name} is not "):
        store.import_vectors(tmp_path / "a.npy", "mine", texts=texts)
    assert not store.path.exists()


def test_an_array_that_is_cut_while_it_is_read_is_refused(tmp_path):
    path, texts = _arrays(tmp_path, np.ones((4, 2)), "a\nb\nc\nd\n")
    opened = open_vectors(path, "npy", ReadOptions(texts=texts))
    for data in (path.read_bytes()[:-8], path.read_bytes()[:20], _npy(np.ones(4))):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=r"a.npy is not a .npy file, ends too early"):
            list(opened.blocks())


@pytest.mark.parametrize("name", ["text", "vector", "start", "layer"])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_two_columns_of_a_name_are_refused(store, tmp_path, name, kind):
    columns = {
        "text": pa.array(["a", "b"]),
        "vector": pa.array([[1.0, 2.0], [3.0, 4.0]]),
        "context": pa.array(["a", "b"]),
        "start": pa.array([0, 0]),
        "end": pa.array([1, 1]),
        "layer": pa.array([0, 0]),
    }
    table = pa.table([*columns.values(), columns[name]], names=[*columns, name])
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    with pytest.raises(SourceError, match=rf"has 2 columns named '{name}'. Rename all but one"):
        store.import_vectors(path, "mine", vector_column="vector")
