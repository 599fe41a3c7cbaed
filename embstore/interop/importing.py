"""Import vectors that were made elsewhere: read → stage → write → index.

The texts are staged as those of a build are, and the vectors are kept on disk in the order of the
shards. The shards are those that a build of the same texts would write, each committed when it is
whole: an import that was interrupted goes on after the last one.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from embstore.base import __version__, disk
from embstore.base.arrays import Ids
from embstore.base.errors import SourceError, StoreError, UsageError, check_known
from embstore.base.keywords import as_names
from embstore.base.messages import MOST_NAMED, count, first_of
from embstore.base.progress import Progress, report_progress
from embstore.base.sharding import Parts, ShardSpec
from embstore.base.space import Layer, Layers, Pooling, Template, Unit, check_space_name
from embstore.base.table import show_size
from embstore.build.report import column_line
from embstore.build.texts import Sources, read_texts
from embstore.index import KINDS
from embstore.index.updating import recall_notes, update_indexes
from embstore.interop.formats import HOW_TO_KEEP
from embstore.interop.records import ImportReport
from embstore.interop.staging import Spool, Stager
from embstore.interop.vector_file import ReadOptions, VectorFile
from embstore.sources.files import file_sha256
from embstore.sources.opening import SPAN
from embstore.sources.rows import Keep
from embstore.storage.cache import StoreFiles
from embstore.storage.card import MAX_BLOCKS, Card
from embstore.storage.catalog import Catalog
from embstore.storage.keys import CARDS
from embstore.storage.manifest import Change, Files, Manifest, size_notes
from embstore.storage.staging.missing import MissingItems, StoredTexts
from embstore.storage.staging.staging import Staging
from embstore.storage.vectors import SHARD_BYTES
from embstore.storage.writer import Batch, NewTexts, StoreWriter, write_batch

DTYPES = ("float32", "float16")
_ORIGIN = ("space", "checkpoint", "revision", "weights_sha256", "unit", "pooling", "template")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import."""

    name: str
    unit: Unit = Unit.WORD
    layers: str | None = (
        None  # 6, 0-12 or 0,6,12; None for those that the file names, else 0, 1, 2 …
    )
    dtype: str | None = None  # None for float16 if all vectors are of it, else float32
    index: str = "auto"
    shard_bytes: int = SHARD_BYTES
    kept: Sources | None = None  # tables of which columns are kept

    def __post_init__(self) -> None:
        check_space_name(self.name)
        check_known("dtype", self.dtype, DTYPES)
        check_known("kind of index", self.index, KINDS)


@dataclass(frozen=True, slots=True)
class Replacement:
    """What is committed together with the vectors of a space that replaces another."""

    removal: Callable[[Manifest], Change]  # removes what the space was
    columns: NewTexts  # writes columns of its items


def import_vectors(
    place: Path | StoreFiles,
    files: Sequence[VectorFile],
    options: ImportOptions,
    digest: str | None = None,
) -> ImportReport:
    """Import the vectors of some files into one space, and index them."""
    _check_alike(files)
    stored_files = StoreFiles.of_folder(place)
    _check_disk(stored_files, files, options)
    report_progress(Progress("hash", files[0].name))
    card = _imported_card(options, files, digest)
    return write_space(stored_files, files, card, options)


def columns_to_keep(
    files: Sequence[VectorFile], read: ReadOptions, unit: Unit, keep: Keep
) -> Sources:
    """Return the tables of which columns are kept: the files of vectors, or that of their texts."""
    if unit is Unit.TOKEN:
        raise UsageError("`keep` is for words, sentences and occurrences, not for tokens.")
    first = files[0]
    if not (read.texts or first.text_column):
        raise UsageError(f"{first.name} ({first.format}) has no columns: {HOW_TO_KEEP}.")
    paths = [read.texts] if read.texts else [path for file in files for path in file.hashed]
    if keep.is_all:
        keep = Keep(first.others or keep.names)
    column = "context" if unit.has_context else read.column or first.text_column
    targets = SPAN if unit.has_context else None
    return Sources(tuple(map(str, paths)), unit, as_names(column), keep, targets=targets)


def write_space(
    stored_files: StoreFiles,
    files: Sequence[VectorFile],
    card: Card,
    options: ImportOptions,
    replacement: Replacement | None = None,
) -> ImportReport:
    """Write the vectors of some files into a space, with columns to keep, and index them.

    Items that the space has are left out, and each shard is committed when it is whole; unless the
    space is a ``replacement``: then all is committed at once, in place of what the space was.
    """
    began, root = time.perf_counter(), stored_files.root
    with ExitStack() as stack:
        stack.enter_context(_system_memory_pool())
        store = stack.enter_context(StoreWriter(stored_files))
        catalog = None if stored_files.find_manifest() is None else Catalog(stored_files)
        present = np.empty(0, np.int64)
        if replacement is None and catalog is not None and not catalog.is_empty(card.space):
            catalog.cards[card.space].check_same_space(card)
            card, present = catalog.cards[card.space], catalog.ids(card.space)
        staging = stack.enter_context(Staging(root, options.unit))
        spool = stack.enter_context(Spool(root, len(card.layers), card.dim))
        stager = Stager(staging, spool, present, card)
        for file in files:
            stager.read(file)
        stager.finish()
        notes, kept = [*stager.notes], options.kept
        if kept is not None:
            rows = read_texts(kept, stack.enter_context(Staging(root, options.unit)))
            notes += [*rows.notes, *map(column_line, rows.columns.write(stored_files))]
        known = () if kept is None else kept.keep.names
        others = [name for name in files[0].others if name not in known]
        if others:
            shown = first_of(others, MOST_NAMED)
            notes.append(f"These columns are left out, and `keep` stores them: {shown}.")
        missing = MissingItems(staging, catalog if replacement is None else None)
        n_present = missing.load_present(card.space)
        parts = Parts.plan(
            staging.n_items, staging.n_chars, card.layer_bytes, options.shard_bytes, ShardSpec()
        )
        texts = StoredTexts(staging, stored_files)
        if n_present:
            texts.write(missing.present([card.space], parts))
        batches = _batches(stored_files, card, missing, parts, spool)
        n_bytes = 0
        if replacement is None:
            for batch in batches:
                store.commit([(batch, texts.missing)])
                n_bytes += batch.n_bytes
        else:

            def new_tables(base: Manifest, ids: Ids) -> Files:
                return {**texts.missing(base, ids), **replacement.columns(base, ids)}

            made = [(batch, new_tables) for batch in batches]
            store.commit(made, replacement.removal)
            n_bytes = sum(batch.n_bytes for batch, _ in made)
        store.complete_sums([card])
        indexes = update_indexes(stored_files, card, options.index)
    return ImportReport(
        stored_files.place,
        card.space,
        files[0].format,
        staging.n_items - n_present,
        n_present,
        len(card.layers),
        card.dim,
        n_bytes + sum(index.n_bytes for index in indexes),
        time.perf_counter() - began,
        (*notes, *recall_notes(card, indexes), *size_notes(stored_files.manifest())),
    )


def _batches(
    files: StoreFiles, card: Card, missing: MissingItems, parts: Parts, spool: Spool
) -> Iterator[Batch]:
    """Write the missing items shard by shard, and yield each batch, which is not committed yet."""
    work = missing.work([card.space], parts)
    n_done = 0
    for keys, ids in work.shards():
        order = np.argsort(ids)
        keys, ids = keys[order], ids[order]
        yield write_batch(files, card, ids, spool.read(keys, ids))
        n_done += len(ids)
        report_progress(Progress("write", card.space, n_done, work.n_items))


def _imported_card(options: ImportOptions, files: Sequence[VectorFile], digest: str | None) -> Card:
    """Return the card of an imported space: what is known of vectors that were made elsewhere."""
    paths = dict.fromkeys(path for file in files for path in file.hashed)
    hashes = [
        {"name": path.name, "sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in paths
    ]
    if digest is None:
        digests = [str(file["sha256"]) for file in hashes]
        digest = digests[0]
        if len(digests) > 1:
            digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    origins = [file.origin for file in files if file.origin is not None]
    origin = {key: origins[0][key] for key in _ORIGIN if key in origins[0]} if origins else None
    return Card(
        space=options.name,
        model=options.name,
        checkpoint=str(hashes[0]["name"]) if hashes else "array",
        revision=None,
        weights_sha256=digest,
        tokenizer_sha256=None,
        config_sha256=None,
        architecture="imported",
        unit=options.unit,
        pooling=Pooling.IMPORTED,
        template=Template(),
        layers=choose_layers(files, options.layers),
        dim=files[0].dim,
        dtype=_dtype(files, options),
        max_tokens=None,
        versions={"embstore": __version__, "numpy": np.__version__},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        imported={"format": files[0].format, "files": hashes, "origin": origin},
    )


def choose_layers(files: Sequence[VectorFile], requested: str | None) -> Layers:
    """Return the layers of imported vectors: those requested, else those that the file names, else
    from 0.
    """
    n_layers = files[0].n_layers
    if requested is None and files[0].layers is not None:
        return files[0].layers
    numbers = [*range(n_layers)] if requested is None else _numbers(requested)
    if len(numbers) != n_layers:
        raise UsageError(
            f"layers={requested!r} names {len(numbers)}, and {files[0].name} has"
            f" {count(n_layers, 'layer')}. Name each once."
        )
    if n_layers > MAX_BLOCKS + 1:
        raise SourceError(
            f"{files[0].name} has {n_layers:,} layers, and a space has at most"
            f" {MAX_BLOCKS + 1:,}. Import a part."
        )
    return Layers(tuple(Layer(number, str(number)) for number in numbers), numbers[-1], None)


def _numbers(requested: str) -> list[int]:
    """Parse numbers of layers."""
    numbers: list[int] = []
    for part in requested.split(","):
        match = re.fullmatch(r" *([0-9]{1,4})(?:-([0-9]{1,4}))? *", part)
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1) if match else [-1, -1]
    if numbers != sorted({*numbers}) or not numbers or numbers[-1] > MAX_BLOCKS:
        raise UsageError(
            f"layers={requested!r} is not a list of layers: write ascending numbers up to"
            f" {MAX_BLOCKS}, each once, as in 6, 0-12 or 0,6,12."
        )
    return numbers


@contextmanager
def _system_memory_pool() -> Iterator[None]:
    """Let Arrow allocate as C does within the context: mimalloc keeps some 40 MB of the little that
    an import needs.
    """
    import pyarrow as pa

    usual = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(usual)


def _check_alike(files: Sequence[VectorFile]) -> None:
    """Raise SourceError unless all files have one dimension and one number of layers."""
    if not files:
        raise UsageError(
            "no file is given. Give at least one: embstore import vectors.txt --name NAME"
        )
    first = files[0]
    for file in files[1:]:
        if (file.n_layers, file.dim) != (first.n_layers, first.dim):
            raise SourceError(
                f"{file.name} has the dimension {file.dim} and {count(file.n_layers, 'layer')}, and"
                f" {first.name} the dimension {first.dim} and {count(first.n_layers, 'layer')}."
                " Files of one import are of one space: import them one by one, each with its"
                " `name`."
            )


def _check_disk(stored: StoreFiles, files: Sequence[VectorFile], options: ImportOptions) -> None:
    """Raise StoreError if the disk is too small for new vectors: a copy in float32 while they are
    read, and shards.
    """
    n_values = sum((file.n or 0) * file.n_layers * file.dim for file in files)
    final_bytes = n_values * (2 if _dtype(files, options) == "float16" else 4)
    n_bytes = final_bytes + 4 * n_values
    free = disk.free_bytes(stored.root)
    if free is None or n_bytes <= free:
        return
    manifest = stored.find_manifest()
    if manifest is not None and manifest.keys_of(CARDS, options.name):  # some may be there already
        return
    raise StoreError(
        f"{files[0].name} has {sum(file.n or 0 for file in files):,} vectors, for which the import"
        f" needs {show_size(n_bytes)} in {stored.root} while it runs, and {show_size(final_bytes)}"
        f" after it; {show_size(free)} are free. Free some space, or choose another folder."
    )


def _dtype(files: Sequence[VectorFile], options: ImportOptions) -> str:
    """Return the stored dtype: the one requested, else float16 if the numbers of all files are of
    it, else float32.
    """
    is_half = all(file.dtype.lstrip("<>=|") in ("f2", "float16") for file in files)
    return options.dtype or ("float16" if is_half else "float32")
