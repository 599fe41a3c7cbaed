"""Choose the poolings of a build: those requested, else the checkpoint's own recipe for sentences, or a default."""

from embstore.base.errors import CheckpointError, UsageError
from embstore.base.space import Pooling, Unit, default_space_name
from embstore.build.job import Model, Options
from embstore.encode import Recipe
from embstore.storage.catalog import Catalog


def choose_poolings(
    model: Model, options: Options, catalog: Catalog | None
) -> tuple[tuple[Pooling, ...], tuple[str, ...]]:
    """Return the poolings of a checkpoint, and notes on the choice of a default.

    Args:
        model: Checkpoint.
        options: Options of the build.
        catalog: Catalog of the store; None if there is no store yet.

    Raises:
        UsageError: One space name is given for several poolings, or a prompt without the pooling ``model``.
    """
    poolings, notes = (
        (tuple(dict.fromkeys(options.poolings)), ()) if options.poolings else _default(model, options, catalog)
    )
    if options.name is not None and len(poolings) > 1:
        raise UsageError(
            f"⦃name⦄ names one space, and {len(poolings)} poolings make {len(poolings)}. Build them one by one."
        )
    if options.prompt and Pooling.MODEL not in poolings:
        raise UsageError(
            f"the prompt {options.prompt!r} belongs to pooling 'model', the own recipe of {model.checkpoint.name!r}, "
            f"and the pooling is {poolings[0].value!r}. Add ⦃pooling=model⦄, or put the prompt's text in ⦃template⦄."
        )
    return poolings, notes


def recipe_of(model: Model, options: Options) -> Recipe | None:
    """Return the checkpoint's own recipe; None if it declares none.

    Raises:
        CheckpointError: The recipe cannot be followed, or has trained weights of its own for an untrained model.
    """
    recipe = model.recipe
    trained = [] if recipe is None else [module.type for module in recipe.modules if module.weights is not None]
    if trained and options.weights.untrained is not None:
        raise CheckpointError(
            f"pooling 'model' does not follow the recipe of {model.checkpoint.name!r} with untrained weights: the "
            f"weights of its module {trained[0]} are trained. Choose another pooling."
        )
    return recipe


def prompt_of(model: Model, options: Options) -> str:
    """Return the text that the checkpoint's own recipe puts before each item.

    Raises:
        CheckpointError: The recipe cannot be followed.
        UnknownNameError: The recipe has no prompt of that name.
    """
    recipe = recipe_of(model, options)
    return "" if recipe is None else recipe.prompt(options.prompt, model.checkpoint.name)


def _default(model: Model, options: Options, catalog: Catalog | None) -> tuple[tuple[Pooling, ...], tuple[str, ...]]:
    """Return the default pooling of a unit, and notes on it.

    Words and occurrences have ``last``. Sentences have ``model`` if the checkpoint declares a recipe of its own, else
    ``eos`` or ``mean``.
    """
    if options.unit is not Unit.SENTENCE:
        return (Pooling.LAST,), ()
    try:
        recipe = recipe_of(model, options)
    except CheckpointError as error:
        pooling = model.tokenizer.default_pooling(options.unit, options.template)
        return (pooling,), (f"{error} The default is {pooling.value}.",)
    if recipe is None:
        return (model.tokenizer.default_pooling(options.unit, options.template),), ()
    name = options.name or default_space_name(model.checkpoint.name, options.unit, Pooling.MODEL, model.space_revision)
    if catalog is not None and catalog.shards.get(name) and catalog.cards[name].pooling is Pooling.MODEL:
        return (Pooling.MODEL,), ()
    return (Pooling.MODEL,), (
        f"{name}: pooled by the own recipe of {model.checkpoint.name!r} ({recipe}), as by "
        f"{recipe.follows}; its layer output is the vector of the whole recipe.",
    )
