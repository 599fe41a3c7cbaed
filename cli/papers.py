"""``embstore reproduce``: a paper's numbers beside those measured; and ``cite``: BibTeX of what a
paper uses.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option, Typer

from ._errors import NO, explained
from ._groups import as_arguments, opened_store, plain_output, with_groups
from ._options import AllowPickle, DeviceName, Values, divided, examples, model_option
from ._output import Output, check_place, print_message, write

if TYPE_CHECKING:
    from embstore.store import Store

app = Typer()

_STOPPED = (
    "Interrupted. What was embedded is kept: run the same command again and it goes on from there."
)


@app.command(
    epilog=examples("tutorials/reproduce.md", "embstore reproduce wolfe2022 --quick --model minilm")
)
@with_groups(opened=opened_store, out=plain_output)
def reproduce(
    paper: Annotated[
        str,
        Argument(
            metavar="PAPER",
            help="wolfe2022: Wolfe & Caliskan (2022).",
            autocompletion=lambda: ["wolfe2022"],
        ),
    ],
    models: Annotated[
        Values,
        model_option(
            "--model",
            metavar="NAME",
            help=(
                "gpt2, clip, minilm, a hub id, a folder, or name=folder (repeatable, or with"
                " commas); published numbers are those of the name."
            ),
            callback=divided,
            show_default="the paper's models",
        ),
    ] = None,
    sentences: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Draw occurrences from these sentences, one a line, not from the paper's sets.",
        ),
    ] = None,
    quick: Annotated[
        bool, Option("--quick", help="Only the small sets, and the first texts of the others.")
    ] = False,
    seed: Annotated[int, Option(metavar="S", help="Random seed of all samples.")] = 0,
    device: DeviceName = None,
    allow_pickle: AllowPickle = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show the builds and queries, and do nothing.")
    ] = False,
    strict: Annotated[
        bool, Option("--strict", help="Exit with 1 if a published number is missed.")
    ] = False,
    *,
    opened: "Store",
    out: Output,
) -> None:
    """Reproduce a paper: build what it needs, measure, and show measured beside published."""
    arguments = as_arguments(locals())
    with explained(_STOPPED):
        with out.progress():
            result = opened.reproduce(**arguments)
        out.emit(result)
        if strict and not dry_run and "miss" in result["verdict"]:
            raise Exit(NO)


@app.command(
    epilog=examples(
        "how-to/scripts.md",
        "embstore cite > references.bib",
        "embstore cite similarity rg65",
        "embstore query cka -o cka.json",
        "embstore cite cka.json",
    )
)
@with_groups(opened=opened_store)
def cite(
    names: Annotated[
        Values,
        Argument(
            metavar="ENTRY",
            help=(
                "embstore, metrics, datasets, spaces or checkpoints; or a result that query wrote"
                " (.json or .jsonl)."
            ),
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(
            "--output", "-o", metavar="FILE", help="Write the BibTeX there, as in references.bib."
        ),
    ] = None,
    *,
    opened: "Store",
) -> None:
    """Write BibTeX of embstore, and of the metrics, datasets and checkpoints that a store uses.

    Without a name, that is what the store uses: its checkpoints, its datasets, and the metrics of
    its stored answers. What has no known reference is named on standard error.
    """
    from embstore.plot.reading import read_rows

    file = None if output is None or str(output) == "-" else output
    if file is not None:
        check_place(file)
    results = [name for name in names or () if name.endswith((".json", ".jsonl"))]
    rows = [row for name in results for row in read_rows(Path(name))]
    others = [name for name in names or () if name not in results]
    entries = opened.cite(others, result=rows or None)
    for note in entries.notes:
        print_message(note)
    write(str(entries), file)
