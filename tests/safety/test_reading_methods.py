"""Every public method of Store that reads, on tampered stores: an answer, or an error of embstore's
own.

Methods that write are tried by their commands (see :mod:`test_received_stores`), here as far as
they have a dry run.
"""

import os
import shutil
from functools import partial
from inspect import getmembers_static, unwrap

import pytest
from fuzzing import refusal
from received_stores import is_of_several_files, limit, outside
from tampered_stores import SPACE, TAMPERINGS

from embstore import Store
from embstore.base.errors import EmbstoreError
from embstore.base.space import Unit
from embstore.explore import report
from embstore.storage.catalog import Catalog

pytestmark = pytest.mark.fault


def of(*positional, **named):
    return positional, named


VIEWS = (
    "items",
    "columns",
    "built_in",
    "embeddings",
    "summaries",
    "skipped",
    "spaces",
    "datasets.words",
)
# Relative paths: each try runs in the folder that holds the store.
CALLS = {
    "build": [of("words.txt", models="tiny=tiny", dry_run=True)],
    "cache_state": [of("partition", spaces=SPACE, layers=0)],
    "catalog": [of()],
    "cite": [of(), of("anisotropy")],
    "columns": [of()],
    "compact": [of(dry_run=True)],
    "cosine": [
        of(["text1", "text2"], spaces=SPACE),
        of(["text1", "text2"], spaces=SPACE, transforms="center"),
    ],
    "drift": [of("text1", spaces=SPACE), of(spaces=SPACE, most=2, k=3, layers="0,1")],
    "explain_query": [of("partition", spaces=SPACE, layers=0)],
    "info": [of()],
    "map": [of(spaces=SPACE, layers="0,1")],
    "map_items": [of(spaces=SPACE, layers=0)],
    "map_points": [of(SPACE, 0)],
    "maps": [of()],
    "merge": [of("other", dry_run=True)],
    "missing": [of("words"), of("words.txt", spaces=SPACE)],
    "neighbours": [
        of("text1", spaces=SPACE, layers="all"),
        of(marked="the [bank] of the river", exact=True),
        of("text1", spaces=SPACE, where="length(text) > 4", transforms="center"),
        of("text1", spaces=SPACE, words=["text2", "text3", "nowhere"]),
        of("not stored", spaces=SPACE, embed=True),
        of(positive=["text1", "text2"], negative="text3", spaces=SPACE),
        of(positive="text1", negative="text3", spaces=SPACE, method="3cosmul"),
    ],
    "push": [of("copy", dry_run=True)],
    "query": [
        of("anisotropy"),
        of("partition", spaces=SPACE, layers=0),
        of("norms", where="length(text) > 3", sample=5, cache=False),
        of("norms", by="zipf_frequency", bins=2, words=["text1", "text2", "nowhere"], cache=False),
        of("correlate", column="zipf_frequency", spaces=SPACE),
        of("self-similarity"),
        of("cka", spaces=SPACE),
    ],
    "refresh": [of()],
    "remote_bytes": [of()],
    "remove": [of(SPACE, dry_run=True)],
    "repair": [of(dry_run=True)],
    "report": [of()],
    "skipped": [of()],
    "sql": [
        *(of(f"FROM {view}") for view in VIEWS),
        of("SHOW TABLES"),
        of(f"FROM neighbours('{SPACE}', 0, 'text1')"),
    ],
    "sql_views": [of()],
    "encode": [of("dog", SPACE)],
    "vectors": [of(SPACE, 0), of("toy.occurrence.last", "top", "length(text) > 3")],
    "verify": [of(), of(quick=True)],
}
WRITING = {
    "add_pairs",
    "add_vectors",
    "export",
    "import_vectors",
    "index",
    "pool",
    "pull",
    "reproduce",
    "store_datasets",
}
SERVING = {"explore"}
OF_NO_STORE = {"add_dataset", "datasets", "explain", "fetch_datasets", "metrics"}
EVERY = 1 if os.environ.get("EMBSTORE_TEST_FAULTS") == "all" else 8


def test_every_public_method_is_tried():
    """A new one must be put into one of the lists."""
    public = {name: member for name, member in getmembers_static(Store) if not name.startswith("_")}
    assert unwrap(public.pop("neighbors")) is unwrap(public["neighbours"])
    assert {
        name for name, member in public.items() if isinstance(member, staticmethod)
    } == OF_NO_STORE
    assert set(public) == {*CALLS, *WRITING, *SERVING, *OF_NO_STORE}


def needs_checkpoint(name, arguments):
    """The toy store names a checkpoint that is nowhere: its error names that, not the damaged
    file.
    """
    return name == "encode" or "embed" in arguments[1]


def read(store, name, arguments):
    """Call a method, and read what it returns."""
    member = getattr(store, name)
    found = member(*arguments[0], **arguments[1]) if callable(member) else member
    if hasattr(found, "fetchall"):
        found.fetchall()
    if isinstance(found, Catalog):
        for space in found.cards:
            found.summaries(space)
            found.items(found.ids(space).tolist())
        found.dataset("words", Unit.WORD)


@pytest.fixture(autouse=True, scope="module")
def rendered_once():
    """Render equal pictures once: a report has dozens, and most ways to tamper change few of
    them.
    """
    drawn = {}
    draw = report.svg

    def once(found, width, *, style):
        name = repr((found.rows, width, style))
        if name not in drawn:
            drawn[name] = draw(found, width, style=style)
        return drawn[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "svg", once)
        yield


@pytest.fixture
def folder(template, checkpoint, tmp_path, monkeypatch):
    """Make the folder anew in which the store is, and go there."""
    folder = tmp_path / "all"

    def anew():
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        (folder / "tiny").symlink_to(checkpoint)
        monkeypatch.chdir(folder)
        return folder

    return anew


@pytest.mark.parametrize("name", CALLS)
def test_a_method_raises_an_error_of_embstores_and_changes_nothing_outside(name, folder, tally):
    counts = tally("tampered store", f"Store.{name}")
    for case in TAMPERINGS[[*CALLS].index(name) % EVERY :: EVERY]:
        root = folder()
        path = case.tamper(root / "store")
        before = outside(root)
        for arguments in CALLS[name]:
            counts["faults"] += 1
            call = f"{case.name}: {name}{arguments}"
            try:
                with limit():
                    message = refusal(partial(read, Store("store"), name, arguments), EmbstoreError)
            except Exception as error:
                error.add_note(call)
                raise
            if message is not None and not case.sound:
                is_named = path.name in message or is_of_several_files(message)
                assert is_named or needs_checkpoint(name, arguments), f"{call}: {message}"
            assert outside(root) == before, call


def test_the_calls_work_on_a_sound_store(folder):
    """Else an error on a tampered one would say nothing."""
    folder()
    for name, arguments in [
        (name, arguments) for name, calls in CALLS.items() for arguments in calls
    ]:
        if needs_checkpoint(name, arguments):
            with pytest.raises(EmbstoreError, match="toy/checkpoint"):
                read(Store("store"), name, arguments)
        else:
            read(Store("store"), name, arguments)
