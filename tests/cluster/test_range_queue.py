"""How ranges are handed out, and taken back from workers that die: with workers that run in this
process.
"""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from item_windows import window_of

from embstore.base.errors import ClusterError
from embstore.base.progress import observing
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.build import on_ray
from embstore.build.job import Options
from embstore.build.on_ray import RangeJob, RangeQueue
from embstore.build.ranges import RangeResult, RangeTask

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(on_ray, "INTERRUPT_SECONDS", 60)


class Died(Exception):
    """A worker died."""


class Local:
    """Stands in for the library: a call runs when it is waited for, one after the other."""

    exceptions = SimpleNamespace(
        ActorDiedError=type("ActorDiedError", (Exception,), {}),
        RayActorError=Died,
        WorkerCrashedError=Died,
        NodeDiedError=Died,
        OutOfMemoryError=Died,
        RayError=Died,
    )

    def __init__(self):
        self.results = {}

    def put(self, value):
        return value

    def wait(self, calls, timeout):
        for call in calls:
            found = self.results[call] if call in self.results else call.run()
            if found is not Silent:
                self.results[call] = found
                return [call], [other for other in calls if other is not call]
        time.sleep(0.01)
        return [], calls

    def get(self, call):
        found = self.results.pop(call)
        if isinstance(found, BaseException):
            raise found
        return found


class Silent:
    """What a call gives whose worker does not answer."""


class Call:
    def __init__(self, run):
        self.run = run


class Worker:
    """A worker whose encoding is a function of its range; it records what it is given."""

    def __init__(self, encode=lambda _: RangeResult((), ()), problem=None):
        self.given = []
        self.is_silent = False
        self._encode = encode
        self.problem = SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=lambda _: self._call(lambda: problem))
        )
        self.encode = SimpleNamespace(remote=self._encoded)

    def _call(self, run):
        return Call(lambda: Silent if self.is_silent else run())

    def _encoded(self, task, requirement):
        self.given.append((requirement, texts(task)))
        return self._call(lambda: self._encode(task))


def texts(task):
    return tuple(item.text for window in task.windows for item in window.items())


def tasks(*ranges):
    """Yield ranges of words, each written with spaces, in windows of at most three."""
    for number, words in enumerate(ranges):
        items = [Item.whole(Unit.WORD, word) for word in words.split()]
        windows = [window_of(items[at : at + 3], number) for at in range(0, len(items), 3)]
        yield RangeTask(number, (), Options(), windows)


def queue_of(workers, *jobs):
    listed = [RangeJob(f"requirement {at}", each) for at, each in enumerate(jobs)]
    return RangeQueue(Local(), workers, listed)


def done(outcomes):
    return sorted(
        (each.job, texts(each.task)) for each in outcomes if isinstance(each.result, RangeResult)
    )


def test_the_ranges_of_several_checkpoints_are_encoded_side_by_side():
    first, second = Worker(), Worker()
    outcomes = [*queue_of([first, second], tasks("a b"), tasks("a b"), tasks("a b")).outcomes()]
    assert done(outcomes) == [(job, ("a", "b")) for job in range(3)]
    assert first.given
    assert second.given
    assert {requirement for requirement, _ in (*first.given, *second.given)} == {
        f"requirement {n}" for n in range(3)
    }


@pytest.mark.parametrize("n", [1, 2, 7, 16])
@pytest.mark.parametrize("poison", ["first", "last", "both"])
def test_exactly_the_texts_that_end_the_process_are_given_up(n, poison):
    words = [f"w{number}" for number in range(n)]
    deadly = (
        {words[0]}
        if poison == "first"
        else {words[-1]}
        if poison == "last"
        else {words[0], words[-1]}
    )
    n_deaths = 0

    def encode(task):
        nonlocal n_deaths
        if deadly & {*texts(task)}:
            n_deaths += 1
            return Died()
        return RangeResult((), ())

    outcomes = [
        *queue_of([Worker(encode), Worker(encode)], tasks(" ".join(words), "x y")).outcomes()
    ]
    lost = sorted(word for each in outcomes if each.result is None for word in texts(each.task))
    assert lost == sorted(deadly)
    embedded = sorted(word for _, found in done(outcomes) for word in found)
    assert embedded == sorted({*words, "x", "y"} - deadly)
    assert n_deaths <= 3 + len(deadly) * (2 + int(np.ceil(np.log2(n))))


def test_a_range_over_which_a_worker_died_by_chance_stays_whole():
    n_deaths = 0

    def encode(task):
        nonlocal n_deaths
        n_deaths += 1
        return Died() if n_deaths < 3 else RangeResult((), ())

    assert done([*queue_of([Worker(encode)], tasks("a b c d e")).outcomes()]) == [
        (0, ("a", "b", "c", "d", "e"))
    ]


def test_a_worker_that_lacks_something_ends_the_build_before_any_text_is_encoded():
    worker = Worker(problem="the worker on here has torch 1.0 and not 99.0")
    with pytest.raises(ClusterError, match=r"has torch 1\.0 and not 99\.0"):
        [*queue_of([worker], tasks("a")).outcomes()]
    assert worker.given == []


def test_after_an_interrupt_the_ranges_that_end_soon_are_yielded():
    pressed = False

    def encode(task):
        nonlocal pressed
        if not pressed:
            pressed = True
            raise KeyboardInterrupt
        return RangeResult((), ())

    seen = []
    worker = Worker(encode)
    outcomes = queue_of([worker], tasks("a", "b", "c", "d")).outcomes()
    found = []
    with pytest.raises(KeyboardInterrupt), observing(seen.append):
        found.extend(outcomes)
    assert [words for _, words in worker.given] == [("a",), ("b",)]
    assert "finish" in [progress.stage for progress in seen]
    assert "2 ranges of texts, for up to 60 s (Ctrl-C again ends at once)" in [
        progress.subject for progress in seen
    ]


def test_the_time_after_an_interrupt_is_limited(monkeypatch):
    monkeypatch.setattr(on_ray, "INTERRUPT_SECONDS", 0.2)
    worker = Worker()

    def encode(task):
        worker.is_silent = True
        raise KeyboardInterrupt

    worker._encode = encode
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        [*queue_of([worker], tasks("a")).outcomes()]
    assert time.monotonic() - began >= 0.2


def test_what_is_waited_for_is_said(monkeypatch):
    worker, seen = Worker(), []
    worker.is_silent = True

    def observe(progress):
        seen.append(progress)
        worker.is_silent = False

    monkeypatch.setattr(on_ray, "START_SECONDS", 0.1)
    queue = queue_of([worker], tasks("a"))
    with observing(observe):
        assert done([*queue.outcomes()]) == [(0, ("a",))]
    assert [(each.stage, each.subject) for each in seen] == [
        ("wait", "1 worker: see `ray status` for what is free")
    ]
