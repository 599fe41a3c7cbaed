"""Choose the poolings of a build: those requested, else the checkpoint's own recipe for sentences, or a default."""

from embstore.build.job import Model, Options
from embstore.encode import Recipe
from embstore.errors import CheckpointError, UsageError
from embstore.space import Pooling, Unit, default_space_name
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
            f"--name names one space, and {len(poolings)} poolings make {len(poolings)}. Build them one by one."
        )
    if options.prompt and Pooling.MODEL not in poolings:
        raise UsageError(
            f"the prompt {options.prompt!r} belongs to pooling 'model', the own recipe of {model.checkpoint.name!r}, "
            f"and the pooling is {poolings[0].value!r}. Add --pooling model, or put the prompt's text in --template."
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

    Words and occurrences have ``last``. Sentences have ``model`` if the checkpoint declares a recipe of its own, unless
    the store has sentences of its other default already, which are continued; else ``eos`` or ``mean``.
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
    names = {
        pooling: options.name or default_space_name(model.checkpoint.name, options.unit, pooling, model.space_revision)
        for pooling in (Pooling.MODEL, Pooling.MEAN, Pooling.EOS)
    }
    stored = {
        pooling
        for pooling, name in names.items()
        if catalog is not None and catalog.shards.get(name) and catalog.cards[name].pooling is pooling
    }
    if stored & {Pooling.MEAN, Pooling.EOS} and Pooling.MODEL not in stored:
        pooling = model.tokenizer.default_pooling(options.unit, options.template)
        if pooling in stored:
            return (pooling,), (
                f"{names[pooling]}: continued with pooling {pooling.value}. The own recipe of "
                f"{model.checkpoint.name!r} ({recipe}), now the default for sentences of a new store, is --pooling "
                "model.",
            )
    if Pooling.MODEL in stored:
        return (Pooling.MODEL,), ()
    return (Pooling.MODEL,), (
        f"{names[Pooling.MODEL]}: pooled by the own recipe of {model.checkpoint.name!r} ({recipe}), as by "
        f"{recipe.follows}; its layer output is the vector of the whole recipe.",
    )
