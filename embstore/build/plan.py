"""Plan a build: the spaces, their cards and their missing items. Nothing is written."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from embstore.base import __version__, disk
from embstore.base.errors import CheckpointError, UsageError
from embstore.base.progress import Observer
from embstore.base.sharding import Parts
from embstore.base.space import Layers, Pooling, Unit, default_space_name
from embstore.base.text import NOT_UNICODE, Item, passages_of, word_boundaries
from embstore.build.job import Job, Model, Options, SpacePlan
from embstore.build.report import reason_key
from embstore.build.texts import Texts
from embstore.encode import Fingerprint, Recipe, reader
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.storage.files.paths import StorePaths
from embstore.storage.selection import cut_notes
from embstore.storage.staging.missing import MissingItems
from embstore.storage.staging.staging import Staging

N_LOADED = 2
"""Number of checkpoints whose weights stay in memory between plan and encoding; of more, one at a time."""


def resolve_models(specs: Sequence[str], options: Options, observe: Observer = lambda _: None) -> list[Model]:
    """Find the files of the checkpoints of a build, without loading tokenizers or weights; repeated ones count once."""
    if not specs:
        raise UsageError("there is no checkpoint in the list (⦃model⦄). Give at least one, such as minilm.")
    members = [(spec, revision) for spec in dict.fromkeys(specs) for revision in options.revisions or (None,)]
    if options.name is not None and len(members) > 1:
        raise UsageError(
            f"⦃name⦄ names one space, and {len(members)} models make {len(members)}. Build them one by one."
        )
    models = [Model(spec, options, observe, revision) for spec, revision in members]
    shared = Counter(model.checkpoint.name for model in models)
    for model in models:
        if shared[model.checkpoint.name] > 1:  # several revisions of one checkpoint
            model.space_revision = model.checkpoint.revision_name
    return models


def open_catalog(root: Path) -> Catalog | None:
    """Open the store at ``root``; return None if there is none yet."""
    has_files = any(not path.name.startswith(".") for path in disk.listed(root))
    return Catalog(root) if has_files or disk.exists(StorePaths(disk.resolved(root)).marker) else None


def plan_build(
    catalog: Catalog | None, texts: Sequence[Texts], models: Sequence[Model], options: Options
) -> list[tuple[Texts, list[Job]]]:
    """Plan the jobs for the texts of each unit; no space has items of two units."""
    if options.name is not None and len(texts) > 1:
        units = " and ".join(unit_texts.unit for unit_texts in texts)
        raise UsageError(
            f"⦃name⦄ names one space, and these sources make one of each unit, {units}. Say which with ⦃unit⦄, or "
            "build them one by one."
        )
    return [(part, plan_jobs(catalog, part.staging, models, replace(options, unit=part.unit))) for part in texts]


def plan_jobs(catalog: Catalog | None, staging: Staging, models: Sequence[Model], options: Options) -> list[Job]:
    """Plan the job of each checkpoint, given the vectors that are stored.

    The weights are loaded only if the stored cards do not suffice, so that a build with nothing missing is quick.
    """
    missing = MissingItems(staging, catalog)
    jobs = []
    for model in models:
        cards = []
        poolings, notes = choose_poolings(model, options, catalog)
        for pooling in poolings:
            name = options.name or default_space_name(
                model.checkpoint.name, options.unit, pooling, model.space_revision
            )
            stored = catalog.cards.get(name) if catalog and catalog.shards.get(name) else None
            recipe = recipe_of(model, options) if pooling is Pooling.MODEL else None
            prompt = "" if recipe is None else recipe.prompt(options.prompt, model.checkpoint.name)
            card = _card(model, options, pooling, name, stored, prompt)
            if stored is not None:
                stored.check_same_space(card)
            cards.append(stored or card)
        if len(models) > N_LOADED:
            model.release()
        parts = Parts.plan(
            staging.n_items, staging.n_chars, max(map(item_bytes, cards)), options.shard_bytes, options.worker
        )
        spaces = tuple(_space_plan(missing, card, model, options, parts) for card in cards)
        jobs.append(Job(model, options, spaces, missing, parts, notes))
    names = [space.card.space for job in jobs for space in job.spaces]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"two of the models make the same space, {repeated[0]!r}. Rename one: ⦃model=NAME=FOLDER⦄.")
    cut = cut_notes([space.card for job in jobs for space in job.spaces], options.layers)
    return [replace(jobs[0], notes=(*jobs[0].notes, *cut)), *jobs[1:]]


def item_bytes(card: Card) -> int:
    """Return the bytes of one item's vectors in a space, all layers."""
    return len(card.layers) * card.dim * (2 if card.dtype == "float16" else 4)


def _space_plan(missing: MissingItems, card: Card, model: Model, options: Options, parts: Parts) -> SpacePlan:
    """Count the items of a space that are stored, missing, or cannot be embedded with these options."""
    n_present = missing.load_present(card.space)
    unfit = Counter({NOT_UNICODE: missing.staging.n_invalid} if missing.staging.n_invalid else {})
    for items in missing.previously_skipped(card.space):
        reasons = _unfit(items, model, card, options)
        unfit.update(map(reason_key, reasons.values()))
        missing.exclude(card.space, np.fromiter(reasons, np.int64, len(reasons)))
    return SpacePlan(card, *missing.n_missing(card.space, parts), n_present, unfit)


def _unfit(skipped: list[Item], model: Model, card: Card, options: Options) -> dict[int, str]:
    """Return the previously skipped items that would be skipped again, as item id → reason.

    Only the tokenizer is used, so that a build with nothing else missing does not load the weights.
    """
    if (long := options.long_for(card.pooling)) == "error":
        return {}
    bos, eos = model.tokenizer.template_strings(options.template)
    passages = passages_of(skipped, options.template, bos=bos, eos=eos)
    poolings = [card.pooling]
    plan = reader(model.tokenizer, poolings, card.prompt).plan(passages, poolings=poolings, long=long)
    return {item.item_id: item.reason for item in plan.skipped if item.outcome == "skipped"}


def _card(model: Model, options: Options, pooling: Pooling, name: str, stored: Card | None, prompt: str) -> Card:
    """Return the card of a space, from the stored card if it is of the same files, else from the loaded model."""
    checkpoint, hashes = model.checkpoint, model.fingerprint
    recipe = model.recipe if pooling is Pooling.MODEL else None
    document = None if recipe is None else recipe.to_document(prompt)
    if stored is not None and _suffices(stored, hashes, pooling) and stored.recipe == document:
        of_kind = Layers.of_projection if pooling is Pooling.PROJECTION else Layers.of_model
        all_layers = of_kind if recipe is None else recipe.layers
        layers = all_layers(stored.layers.n_blocks, stored.layers.top_form)
        dim, architecture, max_tokens = stored.dim, stored.architecture, stored.max_tokens
        versions, layer_check = stored.versions, stored.layer_check
    else:
        encoder = model.encoder
        encoder.tokenizer.check(options.unit, pooling, options.template)
        layers, dim = encoder.layers_of(pooling), encoder.dim_of(pooling)
        architecture, max_tokens = encoder.architecture, reader(encoder.tokenizer, [pooling]).max_tokens
        versions, layer_check = {"embstore": __version__, **encoder.versions}, encoder.layer_check
    return Card(
        space=name, model=checkpoint.name, checkpoint=checkpoint.id, revision=checkpoint.revision,
        weights_sha256=hashes.weights_sha256, tokenizer_sha256=hashes.tokenizer_sha256,
        config_sha256=hashes.config_sha256, architecture=architecture, unit=options.unit, pooling=pooling,
        template=options.template, layers=layers.select_stored(options.layers),
        dim=dim, dtype=options.dtype, max_tokens=max_tokens, versions=versions,
        created=datetime.now(UTC).isoformat(timespec="seconds"), layer_check=layer_check,
        word_boundaries=word_boundaries() if options.unit is Unit.OCCURRENCE else None,
        revision_name=checkpoint.revision_name, weights_dtype=options.weights.dtype,
        untrained=options.weights.untrained, recipe=document,
    )  # fmt: skip


def _suffices(stored: Card, hashes: Fingerprint, pooling: Pooling) -> bool:
    """Return whether a stored card is of the same files and kind of pooling, so that the model need not be loaded."""
    same_files = astuple(hashes) == (stored.weights_sha256, stored.tokenizer_sha256, stored.config_sha256)
    own = {Pooling.PROJECTION, Pooling.MODEL}  # each with layers of its own
    return same_files and (stored.pooling is pooling or not {stored.pooling, pooling} & own)


def choose_poolings(
    model: Model, options: Options, catalog: Catalog | None
) -> tuple[tuple[Pooling, ...], tuple[str, ...]]:
    """Return the poolings of a checkpoint, and notes on the choice of a default."""
    requested: tuple[tuple[Pooling, ...], tuple[str, ...]] = (tuple(dict.fromkeys(options.poolings)), ())
    poolings, notes = requested if options.poolings else _default(model, options, catalog)
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
    """Return the checkpoint's own recipe; None if it declares none."""
    recipe = model.recipe
    trained = [] if recipe is None else [module.type for module in recipe.modules if module.weights is not None]
    if trained and options.weights.untrained is not None:
        raise CheckpointError(
            f"pooling 'model' does not follow the recipe of {model.checkpoint.name!r} with untrained weights: the "
            f"weights of its module {trained[0]} are trained. Choose another pooling."
        )
    return recipe


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
