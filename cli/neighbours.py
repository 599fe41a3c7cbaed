"""``embstore neighbours``."""

from typing import Annotated

from . import _options
from ._errors import explained
from ._options import argument, option
from ._output import emit
from ._store import open_stores


def neighbours(
    texts: Annotated[list[str] | None, argument("TEXT", "Words or sentences.")] = None,
    marked: Annotated[
        list[str] | None,
        option("--text TEXT", 'A word in its context (repeatable): --text "the [bank] of the river".'),
    ] = None,
    positive: Annotated[
        list[str] | None,
        option("--positive WORDS", "Words to add, with commas or repeated: king,woman."),
    ] = None,
    negative: Annotated[list[str] | None, option("--negative WORDS", "Words to subtract, likewise: man.")] = None,
    method: Annotated[
        str,
        option("--method 3cosadd|3cosmul", "How --positive and --negative words are combined."),
    ] = "3cosadd",
    layer: Annotated[str, option("--layer LAYERS", _options.LAYER_HELP)] = "top",
    k: Annotated[int, option("-k N", "Number of neighbours.")] = 10,
    embed: Annotated[
        bool, option("--embed", "Encode a text that is not stored, by each space's own checkpoint.")
    ] = False,
    download: Annotated[
        bool,
        option("--download", "With --embed: download checkpoints that are not on this machine."),
    ] = False,
    allow_pickle: _options.AllowPickle = False,
    model: _options.Models = None,
    revision: _options.Revisions = None,
    space: _options.Spaces = None,
    unit: _options.UnitName = None,
    pooling: _options.PoolingName = None,
    template: _options.TemplateText = None,
    transform: _options.Transforms = None,
    where: Annotated[
        str | None,
        option("--where SQL", "Only items for which this is true, as in \"text LIKE 'a%'\" (in the search)."),
    ] = None,
    words: _options.WordFile = None,
    word: _options.SingleWords = None,
    timeout: _options.SqlTimeout = None,
    memory: _options.SqlMemory = None,
    exact: Annotated[bool, option("--exact", "Scan the vectors, whatever indexes there are.")] = False,
    quiet: _options.Quiet = False,
    store: _options.StoreDirs = None,
    form: _options.OutputFormat = _options.Format.TABLE,
    output: _options.OutputFile = None,
    csv_safe: _options.CsvSafe = False,
    ids_as_text: _options.IdsAsText = False,
) -> None:
    """Show the nearest stored items of a text, by cosine, layers and models side by side.

    Instead of a text: --positive and --negative, for the items nearest to king + woman - man.
    """
    with explained():
        from ._progress import show_progress

        with show_progress(quiet):
            found = open_stores(store).neighbours(
                texts or (), marked=marked or (), models=model or (), revisions=revision or (),
                spaces=space or (), unit=unit, pooling=pooling, template=template, layers=layer, k=k, embed=embed,
                download=download, allow_pickle=allow_pickle, transforms=transform or (), where=where, words=words,
                word=word or (), timeout=timeout, memory=memory, exact=exact,
                positive=_options.split_words(positive), negative=_options.split_words(negative), method=method,
            )  # fmt: skip
        emit(found, form, output, csv_safe=csv_safe, ids_as_text=ids_as_text, quiet=quiet)
