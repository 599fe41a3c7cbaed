"""Methods of Store that import and export vectors."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from embstore.base.errors import UsageError
from embstore.base.keywords import Names, StrPath, as_names
from embstore.base.progress import Observer, observing
from embstore.base.space import SPACE_NAME, Unit, parse_member
from embstore.store.opened import ItemOptions, LayerSpec, OpenStore, as_filters, as_int, as_layers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from embstore.interop.importing import ImportOptions
    from embstore.interop.pooling import PoolReport
    from embstore.interop.records import ExportReport, ImportReport


class InteropMethods(OpenStore):
    """Import vectors that were made elsewhere, and export vectors to other formats."""

    def import_vectors(
        self,
        files: StrPath | Sequence[StrPath],
        name: str | None = None,
        *,
        format: str | None = None,
        unit: str | None = None,
        layers: LayerSpec | None = None,
        texts: StrPath | None = None,
        column: str | None = None,
        vector_column: str | None = None,
        keep: Names = (),
        dtype: str | None = None,
        index: str = "auto",
        allow_pickle: bool = False,
        progress: bool | Observer = False,
    ) -> "ImportReport":
        """Import vectors from files into a space of their own, and index them.

        Memory does not grow with the files. An import that was interrupted goes on when it is
        called again; one that is complete writes nothing.

        Args:
            files: One file, or several that become one space.
            name: Name of the space; by default that of the only file, without its suffix.
            format: Name of the format; by default found by suffix and content. See the how-to
                "Bring vectors".
            unit: ``word``, ``sentence`` or ``occurrence`` (a word with its sentence, in the columns
                ``context``, ``start`` and ``end``); by default ``word``.
            layers: Numbers of the layers, as in ``6`` or ``"0-12"``; by default those that the file
                names, else 0, 1 …
            texts: File with the texts of an array, in the order of its rows: .txt with one a line,
                .jsonl, .csv …
            column: Column with the texts; by default ``text``, ``word``, ``token`` or ``key``.
            vector_column: Column or array with the vectors; by default the only one that fits.
            keep: Columns of the tables in ``files`` or ``texts`` (.parquet, .csv, .tsv, .jsonl)
                whose values are stored with the items, as in :meth:`build`, or ``"all"``. A note
                names the columns of ``files`` that are left out.
            dtype: Type of the stored vectors: ``float32`` or ``float16``; by default float16 for
                vectors of this type.
            index: Index of each layer, as in :meth:`build`.
            allow_pickle: Whether to load pickles, which can run code.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            Counts of the items imported, and of those that were there before; the notes say what
            was converted.

        Raises:
            SourceError: A file cannot be read, or a row has no text, a text that another has, or a
                vector that is not finite; names the row.
            SpaceMismatchError: There is another space of this name; names the differences.
        """
        from embstore.interop.formats import open_vectors
        from embstore.interop.importing import columns_to_keep, import_vectors
        from embstore.interop.vector_file import ReadOptions
        from embstore.sources.rows import Keep

        paths = (
            [Path(files)]
            if isinstance(files, str | os.PathLike)
            else [Path(file) for file in files]
        )
        stem = Path(paths[0].name.removesuffix(".gz")).stem
        if name is None and not (len(paths) == 1 and re.fullmatch(SPACE_NAME, stem)):
            raise UsageError("name the space that the files become: name='NAME'")
        options = _options(name or stem, unit, layers, dtype, index)
        read = ReadOptions(
            None if texts is None else Path(texts), column, vector_column, allow_pickle
        )
        opened = [open_vectors(path, format, read) for path in paths]
        if columns := Keep(as_names(keep)):
            options = replace(options, kept=columns_to_keep(opened, read, options.unit, columns))
        with self._writing() as store_files, observing(progress):
            return import_vectors(store_files, opened, options)

    def add_vectors(
        self,
        name: str,
        texts: Sequence[str],
        array: "ArrayLike",
        *,
        unit: str = "word",
        layers: LayerSpec | None = None,
        dtype: str | None = None,
        index: str = "auto",
        progress: bool | Observer = False,
    ) -> "ImportReport":
        """Store an array of vectors as a space of its own, and index it.

        The same call again writes nothing; other vectors under the same name are refused.

        Args:
            name: Name of the space.
            texts: Words or sentences (n); for occurrences sentences with one word in brackets.
            array: Vectors of one layer (n, dim), or of all (layers, n, dim).
            unit: ``word``, ``sentence`` or ``occurrence``.
            layers: Numbers of the layers; by default 0, 1, 2 …
            dtype: Type of the stored vectors: ``float32`` or ``float16``; by default float16 for an
                array of this type.
            index: Index of each layer, as in :meth:`build`.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            Counts of the items imported, and of those that were there before; the notes say what
            was converted.

        Raises:
            SourceError: There are more or fewer texts than vectors, or a row has no text, a text
                that another has, or a vector that is not finite; names the row.
            SpaceMismatchError: There is another space of this name.
        """
        from embstore.interop.importing import import_vectors
        from embstore.interop.read_arrays import array_digest, array_file

        options = _options(name, unit, layers, dtype, index)
        texts, values = as_names(texts), np.asarray(array)
        file = array_file(texts, values, options.unit)
        with self._writing() as store_files, observing(progress):
            return import_vectors(store_files, [file], options, array_digest(texts, values))

    def pool(
        self,
        space: str,
        *,
        name: str,
        by: str = "word",
        min: int = 1,
        how: str = "mean",
        index: str = "auto",
        progress: bool | Observer = False,
    ) -> "PoolReport":
        """Pool the vectors of words in sentences, or of tokens, into one for each word or text, as
        a space of their own, and index it.

        The space is like any other: every query works on it. Its card names the space that it was
        made from, and a hash of its state; once that has changed, ``info``, ``verify`` and queries
        say so, and the same call makes the space again. The number of vectors behind an item is its
        column ``n_pooled``. Memory does not grow with the number of vectors.

        Args:
            space: Name of a space of occurrences, or of tokens.
            name: Name of the new space.
            by: ``word``: one vector for each distinct text of an item, as it is written; or
                ``context``: one for each text that the items are in.
            min: Least number of vectors of a word or text; those with fewer are left out.
            how: ``mean``: the mean of the vectors; or ``first-pc``: the first principal component
                of the vectors as they are (not centred), of unit length, with a positive product
                with their mean (Ethayarajh 2019, section 5). In float64.
            index: Index of each layer, as in :meth:`build`.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            Counts of the items, of the vectors that they were made from, and of what is left out.

        Raises:
            QueryError: The space is of words or sentences by themselves, or none has ``min``
                vectors.
            SpaceMismatchError: There is another space of this name, or one that was pooled in
                another way.
        """
        from embstore.interop.pooling import PoolOptions, pool

        options = PoolOptions(space, name, by, as_int(min) or 0, how, index)
        with self._writing() as store_files, observing(progress):
            return pool(store_files, options)

    def export(
        self,
        dest: StrPath,
        space: str | None = None,
        *,
        format: str | None = None,
        layers: LayerSpec | None = None,
        transforms: Names = (),
        keep: Names = (),
        force: bool = False,
        progress: bool | Observer = False,
        **items: Unpack[ItemOptions],
    ) -> "ExportReport":
        """Write the vectors of a space to a file or folder in the format of another program.

        Memory does not grow with the space, and what is written appears whole or not at all, with
        the card of the space in it or beside it.

        Args:
            dest: File or folder to write.
            space: Name of the space; by default the only one of the store.
            format: Name of the format; by default found by the suffix of ``dest``. See the how-to
                "Take vectors elsewhere".
            layers: Layers, as in :meth:`query`; by default all, or ``top`` if the format has room
                for one.
            transforms: Transforms, as in :meth:`query`, fitted on the selected items of each layer.
            keep: Columns of the items to export too (:meth:`columns`), or ``"all"`` for all that
                are stored.
            force: Whether to replace what is there.
            progress: Whether to show progress bars, or a function that is called with the progress.
            **items: Filters of items, as in :meth:`query`: ``where``, ``words``, ``word``,
                ``timeout``, ``memory``. The notes say which words the space has not.

        Returns:
            The files that were written, with their layers, items and bytes.

        Raises:
            UsageError: There is something at the place, or the format has room for one layer, and
                several are selected.
            QueryError: No item is selected, or a text does not fit the format; names it.
        """
        from functools import partial

        from embstore.interop.exporting import ExportRequest, export

        _, selection = as_filters(self.export, items, ItemOptions)
        selection = replace(selection, transforms=as_names(transforms))
        chosen = None if layers is None else as_layers(layers)
        request = ExportRequest(Path(dest), space, chosen, format, selection, as_names(keep), force)
        with observing(progress):
            return self._ask(partial(export, request=request))


def _options(
    name: str, unit: str | None, layers: LayerSpec | None, dtype: str | None, index: str
) -> "ImportOptions":
    """Return the options of an import."""
    from embstore.interop.importing import ImportOptions

    chosen = None if layers is None else as_layers(layers)
    return ImportOptions(name, parse_member(Unit, unit or "word"), chosen, dtype, index)
