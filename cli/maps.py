"""``embstore drift`` and ``map``."""

from typing import Annotated, Any, Literal

from typer import Argument, Context, Option, Typer

from embstore.base.errors import UsageError

from ._errors import explained
from ._options import (
    ALL,
    TOP,
    AsCsv,
    AsJson,
    CsvSafe,
    Form,
    IdsAsText,
    Layers,
    Marked,
    Memory,
    Models,
    Named,
    NoCache,
    OfPooling,
    OfTemplate,
    OfUnit,
    OutputFile,
    Quiet,
    Revisions,
    Sample,
    Seed,
    Spaces,
    StoreDir,
    StoreOptions,
    Timeout,
    Where,
    Word,
    Words,
    examples,
    filters,
    given_options,
    open_store,
    stored_spaces,
)
from ._output import Output, check_place

app = Typer()

DriftTexts = Annotated[
    list[str] | None,
    Argument(
        metavar="WORD", help="Words or sentences.", show_default="those that change most and least"
    ),
]
Most = Annotated[
    int | None,
    Option(
        metavar="N",
        help="The N items that change most, and the N that change least.",
        show_default="10; 3 in a figure",
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
        help="Compare with the layers of this space, the first with the first, and so on.",
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
def drift(
    texts: DriftTexts = None,
    marked: Marked = None,
    most: Most = None,
    k: K = 10,
    pairs: Pairs = "adjacent",
    against: Against = None,
    models: Models = None,
    revisions: Revisions = None,
    spaces: Spaces = None,
    unit: OfUnit = None,
    pooling: OfPooling = None,
    template: OfTemplate = None,
    layers: Layers = ALL,
    where: Where = None,
    words: Words = None,
    word: Word = None,
    timeout: Timeout = None,
    memory: Memory = None,
    sample: Sample = None,
    seed: Seed = 0,
    no_cache: NoCache = False,
    store: StoreDir = None,
    store_option: StoreOptions = None,
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
    ids_as_text: IdsAsText = False,
    quiet: Quiet = False,
) -> None:
    """Show how the neighbourhoods of items change over layers, or between two spaces.

    overlap: share of the k nearest that an item keeps. turnover: 1 − cosine of its cosines with all
    its neighbours.
    """
    out = Output(form, as_json, as_csv, output, csv_safe, ids_as_text=ids_as_text, quiet=quiet)
    with out.progress():
        found = open_store(store, store_option).drift(
            texts or (),
            marked=marked or (),
            most=most,
            k=k,
            pairs=pairs,
            against=against,
            **filters(models, revisions, spaces, unit, pooling, template),
            layers=layers,
            where=where,
            words=words,
            word=word or (),
            timeout=timeout,
            memory=memory,
            sample=sample,
            seed=seed,
            cache=not no_cache,
        )
    out.emit(found)


_OF_LIST = (
    "named", "method", "layers", "models", "revisions", "spaces", "unit", "pooling", "template",
    "stored", "quiet", "store", "store_option", "form", "as_json", "as_csv", "output", "csv_safe",
)  # fmt: skip
"""Parameters that suit a list of stored maps."""
_FIGURES = (".pdf", ".png", ".svg")


@app.command(
    epilog=examples(
        "how-to/maps.md",
        "embstore map --model minilm",
        "embstore map --method tsne --sample 4000 --layer 0-6",
    )
)
def map(
    ctx: Context,
    named: Named = None,
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
    models: Models = None,
    revisions: Revisions = None,
    spaces: Spaces = None,
    unit: OfUnit = None,
    pooling: OfPooling = None,
    template: OfTemplate = None,
    layers: Layers = ALL,
    where: Where = None,
    words: Words = None,
    word: Word = None,
    timeout: Timeout = None,
    memory: Memory = None,
    sample: Sample = None,
    seed: Seed = 0,
    store: StoreDir = None,
    store_option: StoreOptions = None,
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
    quiet: Quiet = False,
) -> None:
    """Map the items of each layer into the plane. The maps are stored, as tables of item_id, x and
    y.

    The layers of one call are mapped together, so that a point moves where its neighbours change.
    -o FILE.svg, .pdf or .png draws them: the top layer, or those of --layer.
    """
    is_figure = output is not None and output.suffix.lower() in _FIGURES and not stored
    picture, output = (output, None) if is_figure else (None, output)
    out = Output(form, as_json, as_csv, output, csv_safe, quiet=quiet)
    chosen = filters([*(models or ()), *(named or ())], revisions, spaces, unit, pooling, template)
    with explained(
        "Interrupted. The layers that were done are stored; the same command goes on after them."
    ):
        opened = open_store(store, store_option)
        if stored:
            if given := given_options(ctx, _OF_LIST):
                raise UsageError(
                    f"--list lists stored maps with their settings, and {given[0]} is about new"
                    f" ones. Leave {given[0]} out; --space, --layer and --method choose what is"
                    " listed."
                )
            stored_maps = opened.maps(method=method, layers=layers, **chosen)
            out.emit_actions(
                stored_maps, nothing="No such map is stored. Make one with: embstore map"
            )
            return
        items: dict[str, Any] = {
            "method": method or "pca",
            "where": where,
            "words": words,
            "word": word or (),
            "timeout": timeout,
            "memory": memory,
            "sample": sample,
            "seed": seed,
            **chosen,
        }
        if picture is not None:
            check_place(picture)
        with out.progress():
            done = opened.map(layers=layers, force=force, **items)
            shown = TOP if layers == ALL else layers
            mapped = picture and [opened.map_items(layers=shown, together=layers, **items)]
        if mapped:
            from embstore.plot import PlotOptions, draw

            draw(mapped, PlotOptions()).savefig(picture)
        out.emit(done)
