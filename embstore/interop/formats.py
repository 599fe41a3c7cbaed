"""List the formats of vectors that embstore reads and writes, and find that of a file."""

import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from embstore.base.errors import SourceError, UnknownNameError, UsageError, check_known
from embstore.interop.records import with_record_beside
from embstore.interop.vector_file import ReadOptions, VectorFile, check_regular, is_folder
from embstore.sources.files import file_type, open_decompressed

_TEXTS, _COLUMNS, _ALL = (
    ("texts", "column"),
    ("column", "vector_column"),
    ("texts", "column", "vector_column"),
)

HOW_TO_KEEP = "columns to keep come with .parquet, or with .npy and a table as `texts`"

_NO_USE = {
    "texts": f"is for arrays without texts, and this format has its own; {HOW_TO_KEEP}",
    "column": (
        "is for files with columns, or for `texts`, and this format has one text for each vector"
    ),
    "vector_column": "is for files with several columns or arrays, and this format has one",
}
"""Why an option does not apply to a format."""


class Reader(NamedTuple):
    """A format that can be imported: by a function of a module of this package, which is imported
    only then.
    """

    function: str  # module:name
    suffixes: tuple[str, ...]
    help: str  # for the reference
    reads: tuple[str, ...] = ()  # the options that apply to it: of texts, column and vector_column

    def open(self, path: Path, options: ReadOptions) -> VectorFile:
        """Open a file; raise UsageError if an option is given that the format has no use for."""
        for option, reason in _NO_USE.items():
            if option not in self.reads and getattr(options, option) is not None:
                raise UsageError(f"{path}: `{option}` {reason}. Leave it out.")
        return _function(self.function)(path, options)  # type: ignore[no-any-return]


READERS = {
    "npy": Reader(
        "read_arrays:open_npy",
        (".npy",),
        "NumPy array (n, dim) or (layers, n, dim); the texts are a file of their own",
        _TEXTS,
    ),
    "npz": Reader(
        "read_arrays:open_npz",
        (".npz",),
        "NumPy archive with such an array, and texts as an array of strings",
        _ALL,
    ),
    "npy-folder": Reader(
        "read_arrays:open_npy_folder", (), "folder that embstore export --as npy wrote", ("texts",)
    ),
    "parquet": Reader(
        "read_tables:open_parquet",
        (".parquet",),
        "Parquet with a column of texts, and of vectors as lists",
        _COLUMNS,
    ),
    "word2vec": Reader(
        "read_word2vec:open_word2vec",
        (".vec",),
        "word2vec's text format, fastText's .vec, also .gz",
    ),
    "word2vec-binary": Reader(
        "read_word2vec:open_word2vec_binary", (".bin",), "word2vec's binary format, also .gz"
    ),
    "glove": Reader(
        "read_word2vec:open_glove", (), "GloVe's text format, without a header, also .gz"
    ),
    "safetensors": Reader(
        "read_safetensors:open_safetensors",
        (".safetensors",),
        "a tensor, or one for each layer",
        _ALL,
    ),
    "arrow": Reader(
        "read_tables:open_arrow", (".arrow", ".feather"), "Arrow IPC with such columns", _COLUMNS
    ),
    "datasets": Reader(
        "read_tables:open_datasets",
        (),
        "folder of the library datasets: save_to_disk, or Parquet files",
        _COLUMNS,
    ),
}
"""The formats that can be imported, by name."""


class Writer(NamedTuple):
    """A format that can be exported: by a function of a path and the selected vectors."""

    function: str  # module:name
    suffixes: tuple[str, ...]  # that choose it
    help: str
    several_layers: bool = True
    is_folder: bool = False
    card_beside: bool = (
        False  # the record of the export is in a file beside it, since it has no room for one
    )

    @property
    def has_columns(self) -> bool:
        """Whether it has room for columns of items."""
        return self.function.startswith("write_tables")

    @property
    def write(self) -> Callable[..., None]:
        """The function."""
        return _function(self.function)


WRITERS = {
    "npy": Writer(
        "write_arrays:write_npy",
        (),
        "folder of vectors.npy, ids.npy, texts.jsonl and card.json",
        is_folder=True,
    ),
    "parquet": Writer(
        "write_tables:write_parquet", (".parquet",), "Parquet, a row for each item and layer"
    ),
    "safetensors": Writer(
        "write_arrays:write_safetensors", (".safetensors",), "tensors of layers, ids and texts"
    ),
    "datasets": Writer(
        "write_tables:write_datasets",
        (),
        "folder that the library datasets loads, with README.md",
        is_folder=True,
    ),
    "arrow": Writer(
        "write_tables:write_arrow",
        (".arrow", ".feather"),
        "Arrow IPC, a row for each item and layer",
    ),
    "csv": Writer(
        "write_tables:write_csv", (".csv",), "CSV, a row for each item and layer", card_beside=True
    ),
    "word2vec": Writer(
        "write_words:write_word2vec",
        (".txt", ".vec"),
        "word2vec's text format",
        several_layers=False,
        card_beside=True,
    ),
}
"""The formats that can be exported, by name."""


def _function(place: str) -> Callable[..., Any]:
    """Import the function at ``module:name`` of this package."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(f"embstore.interop.{module}"), name)
    return function


def find_writer(dest: Path, format_name: str | None) -> str:
    """Return the name of the format of an export: the one given, else by the suffix of its
    place.
    """
    if format_name is not None:
        check_known("format", format_name, WRITERS)
        return format_name
    by_suffix = {suffix: name for name, writer in WRITERS.items() for suffix in writer.suffixes}
    if dest.suffix.lower() not in by_suffix:
        hint = "Name the format, as in format='parquet'."
        if dest.suffix.lower() == ".npy":  # a file has no room for ids and texts
            hint = (
                "NumPy's arrays are written to a folder, with ids and texts beside them:"
                f" name the folder {dest.stem} and format='npy'."
            )
        raise UnknownNameError("file type", dest.suffix or dest.name, by_suffix, hint)
    return by_suffix[dest.suffix.lower()]


_TEXT_SUFFIXES = (".txt", ".vec", ".w2v", "")
_FASTTEXT_MODEL = b"\xba\x16\x4f\x2f"
_FIRST_BYTES = {b"\x93NUMPY": "npy", b"PAR1": "parquet", b"ARROW1": "arrow"}


def open_vectors(path: Path, format_name: str | None, options: ReadOptions) -> VectorFile:
    """Open a file of vectors."""
    check_known("format", format_name, READERS)
    name = format_name or find_format(path)
    file = READERS[name].open(path, options)
    has_no_record = name in ("word2vec", "word2vec-binary")
    return with_record_beside(file, path) if has_no_record else file


def find_format(path: Path) -> str:
    """Return the name of the format of a file, by its suffix and its first bytes."""
    if is_folder(path):
        return "npy-folder" if (path / "vectors.npy").is_file() else "datasets"
    check_regular(path)
    suffix = file_type(path)
    with open_decompressed(path, str(path)) as stream:
        first = stream.read(8)
    if first.startswith(_FASTTEXT_MODEL):
        raise SourceError(
            f"{path} is a model of fastText, not vectors. Give the .vec beside it, or write one"
            " with fasttext's get_words and get_word_vector."
        )
    for magic, name in _FIRST_BYTES.items():
        if first.startswith(magic):
            return name
    by_suffix = {
        known: name
        for name, reader in READERS.items()
        for known in reader.suffixes
        if known != ".vec"
    }
    if suffix in by_suffix:
        return by_suffix[suffix]
    if suffix in _TEXT_SUFFIXES:
        return "word2vec" if _function("read_word2vec:has_header")(path) else "glove"
    hint = (
        "Name the format, as in format='npy'; or write the vectors first by the program that made"
        " the file: gensim's save_word2vec_format, numpy.save."
    )
    if suffix in (".csv", ".tsv"):
        hint = (
            "Vectors in CSV are not read: save the numbers as an array, as with numpy.save, and"
            " name this file as its texts: embstore import vectors.npy --texts"
            f" {shlex.quote(str(path))} --column NAME"
        )
    raise UnknownNameError("file type", path.suffix or path.name, dict.fromkeys(by_suffix), hint)
