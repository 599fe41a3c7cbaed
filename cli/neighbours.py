"""``embstore neighbours`` and ``cosine``."""

from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option, Typer

from ._groups import (
    Arguments,
    as_arguments,
    conditions,
    filters,
    opened_store,
    plain_output,
    with_groups,
)
from ._options import (
    ALL,
    TOP,
    AllowPickle,
    Download,
    Embed,
    Layers,
    Marked,
    Transforms,
    Values,
    examples,
    split_words,
)
from ._output import Output

if TYPE_CHECKING:
    from embstore.store import Store

app = Typer()


@app.command(
    epilog=examples(
        "how-to/neighbours.md",
        "embstore neighbours dog -k 5 --layer 0,top",
        "embstore neighbours --positive king,woman --negative man",
        'embstore neighbours --text "the [bank] of the river"',
    )
)
@with_groups(opened=opened_store, chosen=filters, items=conditions, out=Output)
def neighbours(
    texts: Annotated[Values, Argument(metavar="TEXT", help="Words or sentences.")] = None,
    marked: Marked = None,
    positive: Annotated[
        Values,
        Option(
            metavar="WORDS",
            help="Words to add, with commas or repeated: king,woman.",
            callback=split_words,
        ),
    ] = None,
    negative: Annotated[
        Values,
        Option(metavar="WORDS", help="Words to subtract, likewise: man.", callback=split_words),
    ] = None,
    method: Annotated[
        Literal["3cosadd", "3cosmul"],
        Option(help="How --positive and --negative words are combined."),
    ] = "3cosadd",
    k: Annotated[int, Option("-k", "--k", metavar="N", help="Number of neighbours.")] = 10,
    exact: Annotated[
        bool, Option("--exact", help="Compare all vectors, whatever indexes there are.")
    ] = False,
    embed: Embed = False,
    download: Download = False,
    allow_pickle: AllowPickle = False,
    *,
    chosen: Arguments,
    layers: Layers = TOP,
    items: Arguments,
    transforms: Transforms = None,
    opened: "Store",
    out: Output,
) -> None:
    """Show the nearest stored items of a text, by cosine, layers and models side by side.

    Instead of a text: --positive and --negative, for the items nearest to king + woman - man.
    """
    arguments = as_arguments(locals())
    with out.progress():
        nearest = opened.neighbours(**arguments)
    out.emit(nearest)


@app.command(
    epilog=examples(
        "how-to/neighbours.md",
        "embstore cosine bank river",
        'embstore cosine --text "the [bank] of the river" --text "a [bank] lends"',
    )
)
@with_groups(opened=opened_store, chosen=filters, out=plain_output)
def cosine(
    texts: Annotated[
        Values, Argument(metavar="TEXT", help="Words or sentences; of more than two, all pairs.")
    ] = None,
    marked: Marked = None,
    embed: Embed = False,
    download: Download = False,
    allow_pickle: AllowPickle = False,
    *,
    chosen: Arguments,
    layers: Layers = ALL,
    transforms: Transforms = None,
    opened: "Store",
    out: Output,
) -> None:
    """Show the cosine of two texts, layers down and models side by side: exact, in float64."""
    arguments = as_arguments(locals())
    with out.progress():
        cosines = opened.cosine(**arguments)
    out.emit(cosines)
