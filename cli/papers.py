"""``embstore reproduce``, whose result is a short table for each figure, and ``cite``: BibTeX of
what a paper uses.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from embstore.base.table import Pivot, Table, show, table

from . import _options
from ._errors import NO, explained
from ._options import Format, check_place, examples, open_store
from ._output import Output, _terminal_width, _text, _wide, say, write

app = typer.Typer()

Row = Mapping[str, Any]
Section = tuple[str, Table]

_NOT_MEASURED = "not measured"


def emit_sections(sections: Sequence[Section], form: Format, output: Path | None = None) -> None:
    """Write several tables, each under its heading; a table too wide for a terminal is divided by
    variant.
    """
    width = (
        _terminal_width()
        if output is None and sys.stdout.isatty() and form is Format.TABLE
        else None
    )
    if width is not None:
        sections = [part for section in sections for part in _that_fit(section, width)]
    mark, between = ("### ", "\n") if form is Format.MARKDOWN else ("", "")
    text = "\n".join(
        f"{mark}{head}\n{between}{_text(table, form, width)}" for head, table in sections
    )
    write(text, output, is_data=form is not Format.TABLE)


def _that_fit(section: Section, width: int) -> list[Section]:
    """Return the section; if it is too wide, a section per variant, named in its heading."""
    head, whole = section
    widest = max(map(_wide, _text(whole, Format.TABLE, None).splitlines()))
    if widest <= width or whole.pivot or "variant" not in whole.columns:
        return [section]
    columns = tuple(column for column in whole.columns if column != "variant")
    variants = dict.fromkeys(whole["variant"])
    parts = {
        variant: tuple(row for row in whole if row["variant"] == variant) for variant in variants
    }
    return [
        (f"{head}; {variant}" if variant else head, Table(columns, rows))
        for variant, rows in parts.items()
    ]


def result_sections(result: Table, helps: Mapping[str, str]) -> list[Section]:
    """Return a heading and a table for each figure, and at the end for each reason what was not
    measured.
    """
    sections: list[Section] = []
    for figure in dict.fromkeys(result["figure"]):
        rows = [
            row for row in result if row["figure"] == figure and row["verdict"] != _NOT_MEASURED
        ]
        if compared := [row for row in rows if row["relation"] is not None]:
            sections.append(
                (_heading(figure, helps, "beside what is published"), _compared(compared))
            )
        if others := [row for row in rows if row["relation"] is None]:
            pivot = Pivot(
                ("layers",), ("model", "variant"), ("measured",), heads=("layer",), order="layer"
            )
            measured = table(others, columns=tuple(others[0]), pivot=pivot)
            sections.append((_heading(figure, helps, "nothing published"), measured))
    missing = [row for row in result if row["verdict"] == _NOT_MEASURED]
    for reason in dict.fromkeys(
        row["reason"] for row in missing
    ):  # a column of reasons would be too wide
        sections.append(
            (
                f"not measured: {reason}",
                _unmeasured(row for row in missing if row["reason"] == reason),
            )
        )
    return sections


def _heading(figure: str, helps: Mapping[str, str], what: str) -> str:
    return f"{figure}: {helps[figure]}; {what}" if figure in helps else f"{figure}; {what}"


def plan_sections(plan: Table) -> list[Section]:
    """Return a heading and a table for the builds and for the queries of a dry run."""
    steps = {
        "build": ("builds", ("space", "sources", "template")),
        "query": ("queries", ("space", "metric", "column", "figure")),
    }
    parts = [
        ([row for row in plan if row["step"] == step], *shown) for step, shown in steps.items()
    ]
    return [
        (f"{len(rows)} {head}", table(rows, columns=columns))
        for rows, head, columns in parts
        if rows
    ]


def _compared(rows: Sequence[Row]) -> Table:
    shown = [
        {
            "model": row["model"],
            "variant": row["variant"],
            "layer": _layer(row),
            "published": _published(row),
            "band": _band(row),
            "measured": _value(row),
            "verdict": row["verdict"],
        }
        for row in rows
    ]
    return table(shown, columns=tuple(shown[0]))


def _layer(row: Row) -> str:
    """Return the layer of a row, as text.

    A published number may be about several layers (``best``, ``all``): the layer of the measured
    value then follows, as in ``best 8``.
    """
    layers = str(row["layers"])
    return layers if layers.isdigit() or row["published"] is None else f"{layers} {row['layer']}"


def _published(row: Row) -> str:
    if row["published"] is None:
        return str(row["relation"])
    relation = "" if row["relation"] == "=" else f"{row['relation']} "
    return f"{relation}{show(row['published'])}"


def _band(row: Row) -> str:
    """Return the numbers that hit: ``0.61–0.71``, ``<= 0.45``; of a trend, no step that goes the
    other way.
    """
    if row["published"] is None:
        return "0 steps"
    low, high = row["low"], row["high"]
    if low is None or high is None:
        return f"{row['relation']} {_short(high if low is None else low)}"
    return f"{_short(low)}–{_short(high)}"


def _short(limit: float) -> str:
    """Return a limit to four digits, as far as the table shows them."""
    return f"{round(limit, 4):.4g}" if abs(limit) < 1e4 else f"{limit:.3e}"


def _value(row: Row) -> float | str:
    """Return the measured value; of a trend, how many steps from layer to layer go the other
    way.
    """
    measured: float = row["measured"]
    if row["published"] is not None:
        return measured
    return f"{measured:.0f} steps {'rise' if row['relation'] == 'falling' else 'fall'}"


def _unmeasured(rows: Iterable[Row]) -> Table:
    """Return one row for all numbers of a figure that were not measured, with the count of those
    published.
    """
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        figure = row["figure"] + (f" ({row['variant']})" if row["variant"] else "")
        figures = counts.setdefault((row["model"], row["source"] or ""), {})
        figures[figure] = figures.get(figure, 0) + (row["relation"] is not None)
    shown = [
        {"model": model, "published": count or None, "figure": figure}
        for (model, _), figures in counts.items()
        for figure, count in figures.items()
    ]
    return table(shown, columns=("model", "figure", "published"))


_STOPPED = (
    "Interrupted. What was embedded is kept: run the same command again and it goes on from there."
)


@app.command(
    epilog=examples("tutorials/reproduce.md", "embstore reproduce wolfe2022 --quick --model minilm")
)
def reproduce(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="wolfe2022, or the path of a recipe of your own (.toml).",
            autocompletion=lambda: ["wolfe2022"],
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help=(
                "gpt2, clip, minilm, a hub id, a folder, or name=folder (repeatable); published"
                " numbers are those of the name."
            ),
            show_default="the paper's models",
        ),
    ] = None,
    sentences: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Draw occurrences from these sentences, one a line, not from the recipe's.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only the small sets, and the first texts of the others."),
    ] = False,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of all draws.")] = 0,
    device: _options.DeviceName = None,
    allow_pickle: _options.AllowPickle = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the builds and queries, and do nothing.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a published number is missed.")
    ] = False,
    store: _options.StoreDir = None,
    store_option: _options.StoreOptions = None,
    form: _options.Form = None,
    as_json: _options.AsJson = False,
    as_csv: _options.AsCsv = False,
    output: _options.OutputFile = None,
    csv_safe: _options.CsvSafe = False,
    quiet: _options.Quiet = False,
) -> None:
    """Reproduce a paper: build what it needs, measure, and show measured beside published."""
    out = Output(form, as_json, as_csv, output, csv_safe, quiet=quiet)
    with explained(_STOPPED):
        with out.progress():
            result = open_store(store, store_option).reproduce(
                recipe,
                models=models or (),
                sentences=sentences,
                quick=quick,
                seed=seed,
                device=device,
                allow_pickle=allow_pickle,
                dry_run=dry_run,
            )
        _show(result, recipe, out, dry_run=dry_run)
        if strict and not dry_run and "miss" in result["verdict"]:
            raise typer.Exit(NO)


def _show(result: "Table", recipe: str, out: Output, *, dry_run: bool) -> None:
    if out.form not in (Format.TABLE, Format.MARKDOWN):
        out.emit(result)
        return
    from embstore.recipes.recipe_file import load_recipe

    for note in () if out.quiet else result.notes:
        say(note)
    helps = {measure.figure: measure.help for measure in load_recipe(recipe).measures}
    emit_sections(
        plan_sections(result) if dry_run else result_sections(result, helps), out.form, out.file
    )


@app.command(
    epilog=examples(
        "how-to/scripts.md", "embstore cite > references.bib", "embstore cite similarity rg65"
    )
)
def cite(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="ENTRY", help="embstore, metrics, datasets, spaces or checkpoints."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the BibTeX there, as in references.bib."
        ),
    ] = None,
    store: _options.StoreDir = None,
    store_option: _options.StoreOptions = None,
) -> None:
    """Write BibTeX of embstore, and of the metrics, datasets and checkpoints that a store uses.

    Without a name, that is what the store uses: its checkpoints, its datasets, and the metrics of
    its stored answers. What has no known reference is named on standard error.
    """
    file = None if output is None or str(output) == "-" else output
    if file is not None:
        check_place(file)
    entries = open_store(store, store_option).cite(names or ())
    for note in entries.notes:
        say(note)
    write(str(entries), file)
