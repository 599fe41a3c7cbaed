"""Methods of Store about datasets; all but one need no store."""

import os
from pathlib import Path

from embstore.base.keywords import Names, as_names
from embstore.base.progress import Observer, Progress, current_observer
from embstore.base.table import Table
from embstore.store.arguments import as_observer
from embstore.store.opened import OpenStore


class DatasetMethods(OpenStore):
    """List, download, add and store datasets."""

    @staticmethod
    def datasets() -> Table:
        """Return one row per dataset: kind, unit, rows, whether it is on this machine and sound, licence, address."""
        from embstore.sources import list_datasets

        return list_datasets()

    @staticmethod
    def fetch_datasets(names: Names, observe: Observer | None = None) -> dict[str, Path | None]:
        """Download datasets into ``$EMBSTORE_DATA``, else the platform's cache folder, unless they are there and sound.

        Args:
            names: Names of datasets.
            observe: Function that is called with the progress of the downloads, in bytes.

        Returns:
            The file of each dataset; None for one that is generated, not downloaded.

        Raises:
            UnknownNameError: There is no such dataset.
            SourceError: Some cannot be downloaded, or differ from their published hash; says how to get each by hand.
                The others are kept.
        """
        from embstore.sources import fetch_datasets

        observer = observe or current_observer()

        def report(name: str, done: int, total: int) -> None:
            if observer is not None:
                observer(Progress("fetch", name, done, total, done / total if total else 0.0))

        return fetch_datasets(as_names(names), report)

    @staticmethod
    def add_dataset(
        name: str,
        file: str | os.PathLike[str],
        *,
        kind: str | None = None,
        columns: Names = (),
        unit: str = "word",
        delimiter: str | None = None,
    ) -> Table:
        """Keep a local copy of a published dataset, whose hash is checked, or a table of your own as a dataset.

        Args:
            name: Name of the dataset; for your own table, one that is not taken.
            file: The copy or the table: .csv, .tsv, .jsonl (each also as .gz) or .parquet; of analogies a .txt file
                (four words a line, under lines ``: section``), or a folder of BATS.
            kind: For your own data: ``pairs``, ``lexicon`` or ``analogies``.
            columns: For your own table: the columns of the two texts and the score (pairs), or of the text and its
                value (lexicon). Of pairs of occurrences those of text, start and end of each target and the score; or
                of two texts with their targets in brackets and the score.
            unit: For your own table: ``word`` (the default) or ``sentence``; of pairs also ``occurrence``, for targets
                in sentences.
            delimiter: For your own CSV or TSV table: character that separates its columns, or ``tab``; by default
                detected from its first lines.

        Returns:
            The dataset's row of :meth:`datasets`.

        Raises:
            UnknownNameError, UsageError: An argument does not fit.
            SourceError: The file differs from the published one (shows both hashes), or has a text where a number
                should be (names the line).
        """
        from embstore.sources import add_dataset, list_datasets

        added = add_dataset(name, Path(file), kind=kind, columns=as_names(columns), unit=unit, delimiter=delimiter)
        return list_datasets([added])

    def store_datasets(self, names: Names, *, unit: str | None = None, observe: Observer | None = None) -> Table:
        """Store the rows of datasets without embedding them, for spaces that have their texts, such as imported ones.

        A build stores the rows of its datasets itself. Texts without a vector are named by :meth:`missing`.

        Args:
            names: Names of datasets (:meth:`datasets`), which are downloaded if they are not on this machine.
            unit: What the texts are as items, ``word`` or ``sentence``; by default the dataset's own unit.
            observe: Function that is called with the progress; by default a notebook shows it.

        Returns:
            One row per dataset: dataset, kind, unit and rows.

        Raises:
            UnknownNameError: There is no such dataset.
            UsageError: The dataset's rows are of another unit.
            SourceError: The dataset cannot be downloaded, or its file was altered.
            StoreError: There is no store, or another process writes to it.
        """
        from embstore.base.space import Unit, parse_member
        from embstore.build.texts import store_datasets
        from embstore.sources import missing_datasets

        observer = as_observer(observe)
        chosen = None if unit is None else parse_member(Unit, unit)
        self.fetch_datasets(missing_datasets(as_names(names)), observer)
        with self._writing() as folder:
            return store_datasets(folder, as_names(names), chosen, observer)
