"""``embstore drift`` and ``map``."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Context, Option, Typer

from embstore.base.errors import UsageError

from ._errors import explained
from ._groups import (
    Arguments,
    as_arguments,
    conditions,
    filters,
    named_filters,
    opened_store,
    with_groups,
)
from ._options import (
    ALL,
    TOP,
    AsCsv,
    AsJson,
    CsvSafe,
    Form,
    Layers,
    Marked,
    NoCache,
    OutputFiles,
    Quiet,
    Sample,
    Seed,
    Values,
    examples,
    given_options,
    stored_spaces,
)
from ._output import Output, check_places

if TYPE_CHECKING:
    from embstore.store import Store

app = Typer()

DriftTexts = Annotated[
    Values,
    Argument(
        metavar="WORD", help="Words or sentences.", show_default="those that change most and least"
    ),
]
Most = Annotated[
    int | None,
    Option(
        metavar="N",
        help="The N items that change most, and the N that change least.",
        show_default="5",
    ),
]
K = Annotated[int, Option("-k", "--k", metavar="N", help="Number of neighbours.")]
Pairs = Annotated[
    Literal["adjacent", "all"], Option(help="Compare each layer with the next, or all with all.")
]
Against = Annotated[
    str | None,
    Option(
        metavar="SPACE",
        help=(
            "Compare with the layers of this space, or with SPACE:LAYER: the first with the first,"
            " and so on."
        ),
        autocompletion=stored_spaces,
    ),
]


@app.command(
    epilog=examples(
        "how-to/maps.md",
        "embstore drift bank river --space gpt2.word.last --layer 0,6,top",
        "embstore drift --most 20 --model minilm",
    )
)
@with_groups(chosen=filters, items=conditions, opened=opened_store, out=Output)
def drift(
    texts: DriftTexts = None,
    marked: Marked = None,
    most: Most = None,
    k: K = 10,
    pairs: Pairs = "adjacent",
    against: Against = None,
    *,
    chosen: Arguments,
    layers: Layers = ALL,
    items: Arguments,
    sample: Sample = None,
    seed: Seed = 0,
    no_cache: NoCache = False,
    opened: "Store",
    out: Output,
) -> None:
    """Show how the neighbourhoods of items change over layers, or between two spaces.

    overlap: share of the k nearest that an item keeps. turnover: 1 − cosine of its cosines with all
    its neighbours.
    """
    arguments = as_arguments({**locals(), "no_cache": None})
    with out.progress():
        drifts = opened.drift(**arguments, cache=not no_cache)
    out.emit(drifts)


_OF_LIST = (
    "named",
    "method",
    "layers",
    "models",
    "revisions",
    "spaces",
    "unit",
    "pooling",
    "template",
    "stored",
    "quiet",
    "store",
    "store_option",
    "form",
    "as_json",
    "as_csv",
    "output",
    "csv_safe",
)
"""Parameters that suit a list of stored maps."""
_FIGURES = (".pdf", ".png", ".svg")


@app.command(
    epilog=examples(
        "how-to/maps.md",
        "embstore map --model minilm",
        "embstore map --method tsne --sample 4000 --layer 0-6",
    )
)
@with_groups(chosen=named_filters, items=conditions, opened=opened_store)
def map(
    ctx: Context,
    method: Annotated[
        Literal["pca", "tsne"] | None,
        Option(
            help=(
                "pca: principal components, with axes that all layers share; instant. tsne: t-SNE"
                " on exact nearest neighbours, each layer starting from the one below; keeps more"
                " of them."
            ),
            show_default="pca",
        ),
    ] = None,
    force: Annotated[bool, Option("--force", help="Make maps again that are stored.")] = False,
    stored: Annotated[
        bool,
        Option(
            "--list",
            help="List the stored maps, of this method, these layers and spaces; make none.",
        ),
    ] = False,
    *,
    chosen: Arguments,
    layers: Layers = ALL,
    items: Arguments,
    sample: Sample = None,
    seed: Seed = 0,
    opened: "Store",
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    output: OutputFiles = None,
    csv_safe: CsvSafe = False,
    quiet: Quiet = False,
) -> None:
    """Map the items of each layer into the plane. The maps are stored, as tables of item_id, x and
    y.

    The layers of one call are mapped together, so that a point moves where its neighbours change.
    -o FILE.svg, .pdf or .png draws them: the top layer, or those of --layer.
    """
    files = output or []
    pictures = [file for file in files if file.suffix.lower() in _FIGURES and not stored]
    check_places(files)
    output = [file for file in files if file not in pictures]
    out = Output(
        form=form, as_json=as_json, as_csv=as_csv, output=output, csv_safe=csv_safe, quiet=quiet
    )
    with explained(
        "Interrupted. The layers that were done are stored; the same command goes on after them."
    ):
        if stored:
            for option in given_options(ctx, _OF_LIST):
                raise UsageError(
                    f"--list lists stored maps with their settings, and {option} is about new"
                    f" ones. Leave {option} out; --space, --layer and --method choose what is"
                    " listed."
                )
            stored_maps = opened.maps(method=method, layers=layers, **chosen)
            out.emit_actions(
                stored_maps, nothing="No such map is stored. Make one with: embstore map"
            )
            return
        of_map: Arguments = {
            "method": method or "pca",
            "sample": sample,
            "seed": seed,
            **items,
            **chosen,
        }
        with out.progress():
            done = opened.map(layers=layers, force=force, **of_map)
            shown = TOP if layers == ALL else layers
            mapped = [
                opened.map_items(layers=shown, together=layers, **of_map) for _ in pictures[:1]
            ]
        if mapped:
            from embstore.plot import PlotOptions, draw

            drawn = draw(mapped, PlotOptions())
            for picture in pictures:
                drawn.savefig(picture)
            notes = dict.fromkeys((*done.notes, *mapped[0].notes, *drawn.notes))
            done = replace(done, notes=(*notes,))
        out.emit(done)
