"""``embstore reproduce``, and ``cite``: BibTeX of what a paper uses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import _options
from ._errors import NO, explained
from ._options import AllowPickle, DeviceName, Format, argument, open_store, option
from ._output import Shown, say, write

if TYPE_CHECKING:
    from embstore.base.table import Table

_STOPPED = "Interrupted. What was embedded is kept: run the same command again and it goes on from there."


def reproduce(
    recipe: Annotated[str, argument("RECIPE", "wolfe2022, or the path of a recipe of your own (.toml).")],
    models: Annotated[list[str] | None, option("--model NAME",
        "gpt2, clip, minilm, a hub id, a folder, or name=folder (repeatable); published numbers are those of the name. "
        " [default: the paper's models]")] = None,
    sentences: Annotated[str | None, option("--sentences FILE",
        "Draw occurrences from these sentences, one a line, not from the recipe's.")] = None,
    quick: Annotated[bool, option("--quick", "Only the small sets, and the first texts of the others.")] = False,
    seed: Annotated[int, option("--seed S", "Seed of all draws.")] = 0,
    device: DeviceName = None,
    allow_pickle: AllowPickle = False,
    dry_run: Annotated[bool, option("--dry-run", "Show the builds and queries, and do nothing.")] = False,
    strict: Annotated[bool, option("--strict", "Exit with 1 if a published number is missed.")] = False,
    *,
    shown: Shown,
) -> None:  # fmt: skip
    """Reproduce a paper: build what it needs, measure, and show measured beside published."""
    with explained(_STOPPED):
        with shown.progress():
            result = open_store(shown.store).reproduce(
                recipe, models=models or (), sentences=sentences, quick=quick, seed=seed, device=device,
                allow_pickle=allow_pickle, dry_run=dry_run,
            )  # fmt: skip
        _show(result, recipe, shown, dry_run=dry_run)
        if strict and not dry_run and "miss" in result["verdict"]:
            raise typer.Exit(NO)


def _show(result: "Table", recipe: str, shown: Shown, *, dry_run: bool) -> None:
    if shown.form not in (Format.TABLE, Format.MARKDOWN):
        shown.emit(result)
        return
    from embstore.recipes.recipe_file import load_recipe

    from ._sections import emit_sections, plan_sections, result_sections

    for note in () if shown.quiet else result.notes:
        say(note)
    helps = {measure.figure: measure.help for measure in load_recipe(recipe).measures}
    emit_sections(plan_sections(result) if dry_run else result_sections(result, helps), shown.form, shown.output)


def cite(
    names: Annotated[list[str] | None, argument("ENTRY", "embstore, metrics, datasets, spaces or checkpoints.")] = None,
    result: Annotated[Path | None, option("--from FILE",
        "Cite what a result uses: a file that --format json wrote.")] = None,
    store: _options.StoreDir = None,
    output: Annotated[Path | None, option("--output -o FILE", "Write the BibTeX there, as in references.bib.")] = None,
) -> None:  # fmt: skip
    """Write BibTeX of embstore, and of the metrics, datasets and checkpoints that a store, or a result, uses.

    Without a name, that is what the store uses: its checkpoints, its datasets, and the metrics of its stored answers.
    What has no known reference is named on standard error.

    embstore cite cka stsb > references.bib
    """
    found = open_store(store).cite(names or (), result=result)
    for note in found.notes:
        say(note)
    write(str(found), output)
