"""``embstore drift``."""

from typing import Annotated, Any

from . import _options
from ._errors import explained
from ._groups import with_options
from ._options import argument, option
from ._output import emit
from ._store import open_store


def arguments(
    texts: Annotated[
        list[str] | None,
        argument("WORD", "Words or sentences.  [default: those that change most and least]"),
    ] = None,
    marked: Annotated[
        list[str] | None,
        option("--text TEXT", 'A word in its context (repeatable): --text "the [bank] of the river".'),
    ] = None,
    most: Annotated[
        int | None,
        option("--most N", "The N items that change most, and the N that change least.  [10]"),
    ] = None,
    k: Annotated[int, option("-k N", "Number of neighbours.")] = 10,
    pairs: Annotated[
        str,
        option("--pairs adjacent|all", "Compare each layer with the next, or all with all."),
    ] = "adjacent",
    against: Annotated[
        str | None,
        option("--against SPACE", "Compare with the layers of this space, the first with the first, and so on."),
    ] = None,
    layer: Annotated[str, option("--layer LAYERS", _options.LAYER_HELP)] = "all",
    model: _options.Models = None,
    revision: _options.Revisions = None,
    space: _options.Spaces = None,
    unit: _options.UnitName = None,
    pooling: _options.PoolingName = None,
    template: _options.TemplateText = None,
    where: Annotated[
        str | None,
        option("--where SQL", "Only items for which this holds are compared, and neighbours."),
    ] = None,
    words: _options.WordFile = None,
    word: _options.SingleWords = None,
    timeout: _options.SqlTimeout = None,
    memory: _options.SqlMemory = None,
    sample: _options.Sample = None,
    seed: Annotated[int, option("--seed S", "Seed of the sample.")] = 0,
) -> dict[str, Any]:
    """Return the arguments of :meth:`Store.drift` that the options give."""
    return {
        "texts": texts or (), "marked": marked or (), "most": most, "k": k, "pairs": pairs, "against": against,
        "layers": layer, "models": model or (), "revisions": revision or (), "spaces": space or (), "unit": unit,
        "pooling": pooling, "template": template, "where": where, "words": words, "word": word or (),
        "timeout": timeout, "memory": memory,
        "sample": sample, "seed": seed,
    }  # fmt: skip


@with_options(arguments)
def drift(
    no_cache: Annotated[bool, option("--no-cache", "Compute all anew: take no stored answer, and store none.")] = False,
    quiet: _options.Quiet = False,
    store: _options.StoreDir = None,
    form: _options.OutputFormat = _options.Format.TABLE,
    output: _options.OutputFile = None,
    csv_safe: _options.CsvSafe = False,
    ids_as_text: _options.IdsAsText = False,
    **options: Any,
) -> None:
    """Show how the neighbourhoods of items change over layers, or between two spaces.

    overlap: share of the k nearest that an item keeps. turnover: 1 − cosine of its cosines with all its neighbours.
    """
    with explained():
        from ._progress import show_progress

        with show_progress(quiet):
            found = open_store(store).drift(**arguments(**options), cache=not no_cache)
        emit(found, form, output, csv_safe=csv_safe, ids_as_text=ids_as_text, quiet=quiet)
