"""Store a user's own pairs as a dataset."""

from embstore.base.errors import UsageError, shortened
from embstore.base.space import Unit, check_space_name
from embstore.base.table import Table, table
from embstore.base.text import Item, item_id
from embstore.build.pipeline import FEW, MOST, SPACE_BETWEEN
from embstore.build.texts import COLUMNS, SHOWN, DatasetRows
from embstore.sources.datasets import find_dataset
from embstore.sources.opening import missing_file
from embstore.sources.own import DatasetFile, find_file
from embstore.storage.cache import StoreFiles
from embstore.storage.writer import StoreWriter, write_dataset


def store_pairs(files: StoreFiles, name: str, path: str, unit: Unit | None) -> Table:
    """Store the pairs of a file (``pairs.csv``, or with its columns ``pairs.csv:a,b,score``) as a
    dataset of a unit; by default of what the texts are.
    """
    check_space_name(name)
    if find_dataset(name) is not None:
        raise UsageError(f"{name!r} is the name of a published dataset. Take another one.")
    file = find_file(path)
    if file is None:
        raise missing_file(path.partition(":")[0])
    unit = unit or _unit_of(file)
    kind = f"{unit.value} pairs"
    rows = DatasetRows(name, kind)
    for row in file.rows(unit, "pairs"):
        items = [(item_id(unit, text), text) for text in row.texts]
        if unit is Unit.OCCURRENCE:
            occurrences = map(Item.occurrence, row.texts, row.spans)
            items = [(item.id, item.shown) for item in occurrences]
        rows.add(items, row.values)
    files.manifest()  # which names a store that is not there
    with StoreWriter(files):
        write_dataset(files, name, kind, unit, rows.columns)
    values = (name, kind, unit.value, len(rows.columns["text"]))
    return table([dict(zip(COLUMNS, values, strict=True))], columns=COLUMNS, shown=SHOWN)


def _unit_of(file: DatasetFile) -> Unit:
    """Return the unit of pairs by the rule of a build: sentences if at least 90 % of the texts have
    white space between words, words if at most 10 % have.
    """
    texts = [text for row in file.rows(Unit.SENTENCE, "pairs") for text in row.texts]
    with_space = [text for text in texts if SPACE_BETWEEN.search(text)]
    share = len(with_space) / max(1, len(texts))
    if FEW < share < MOST:
        raise UsageError(
            f"of the {len(texts):,} texts of {file.path}, {len(with_space):,} have white space"
            f" between words, such as {shortened(with_space[0])!r}. Name what they are:"
            " unit='word' or unit='sentence'."
        )
    return Unit.SENTENCE if share >= MOST else Unit.WORD
