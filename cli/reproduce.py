"""``embstore reproduce``."""

from typing import TYPE_CHECKING, Annotated

import typer

from ._errors import NO, explained
from ._options import AllowPickle, DeviceName, Format, argument, option
from ._output import Shown, say
from ._store import open_store

if TYPE_CHECKING:
    from embstore.base.table import Table

_STOPPED = "Interrupted. What was embedded is kept: run the same command again and it goes on from there."
_FOR_THE_EYE = (Format.TABLE, Format.MARKDOWN)


def reproduce(
    recipe: Annotated[str, argument("RECIPE", "wolfe2022, or the path of a recipe of your own (.toml).")],
    model: Annotated[list[str] | None, option("--model NAME",
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
        with shown.progress() as observe:
            result = open_store(shown.store).reproduce(
                recipe, models=model or (), sentences=sentences, quick=quick, seed=seed, device=device,
                allow_pickle=allow_pickle, dry_run=dry_run, observe=observe,
            )  # fmt: skip
        _show(result, recipe, shown, dry_run=dry_run)
        if strict and not dry_run and "miss" in result["verdict"]:
            raise typer.Exit(NO)


def _show(result: "Table", recipe: str, shown: Shown, *, dry_run: bool) -> None:
    if shown.form not in _FOR_THE_EYE:
        shown.emit(result)
        return
    from embstore.recipes.recipe_file import load_recipe

    from ._sections import emit_sections, plan_sections, result_sections

    for note in () if shown.quiet else result.notes:
        say(note)
    helps = {measure.figure: measure.help for measure in load_recipe(recipe).measures}
    emit_sections(plan_sections(result) if dry_run else result_sections(result, helps), shown.form, shown.output)
