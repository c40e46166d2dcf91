"""What the supervisor looks at now and then only: silent agents, processes that nobody knows, mail that nobody took,
samples, circles, when projects will be done.
"""

import contextlib
import time
from collections.abc import Callable

from . import auditor, clock, deadlocks, lapses, messages
from .crew import ACTOR, Crew
from .meter import Meter
from .store import Reader
from .vigil import Vigil
from .workflows import forecasts
from .workflows.pipeline import Pipeline

CLEAR_SECONDS = 3600.0
Step = Callable[[], None]


class Rounds:
    """One supervisor's. ``guarded`` does a step whose fault stops no other; ``job`` does one on a thread of its own."""

    def __init__(self, crew: Crew, guarded: Callable[[Step], bool], job: Callable[..., None]) -> None:
        self._crew = crew
        self._guarded = guarded
        self._job = job
        self._vigil = Vigil()
        self._meter = Meter()
        self._made = time.monotonic()
        self._cleared = float("-inf")
        self._untangled = float("-inf")
        self._foretold = float("-inf")

    @property
    def seconds_left(self) -> float:
        """Until the next one is due."""
        return max(0.0, self._made + self._crew.settings.health.check_interval_seconds - time.monotonic())

    def make(self) -> None:
        self._made = time.monotonic()
        for step in (self._watch_signs_of_life, self.audit_processes, self._sweep_messages):
            self._guarded(step)
        self._guarded(self._sample)
        self._clear_messages()
        self._look_for_deadlocks()
        self._foretell()

    def audit_processes(self) -> None:
        auditor.end_strays(self._crew)

    def _watch_signs_of_life(self) -> None:
        self._vigil.look(self._crew)

    def _sample(self) -> None:
        self._meter.look(self._crew)

    def _sweep_messages(self) -> None:
        if self._crew.store.read(lapses.is_due, now=clock.now()):
            self._crew.write(messages.sweep, now=clock.now())

    def _clear_messages(self) -> None:
        if time.monotonic() - self._cleared >= CLEAR_SECONDS:
            self._cleared = time.monotonic()
            self._job("retention", _clear_messages)

    def _look_for_deadlocks(self) -> None:
        if time.monotonic() - self._untangled >= self._crew.settings.health.deadlock_interval_seconds:
            self._untangled = time.monotonic()
            self._job("deadlocks", _look_for_deadlocks)

    def _foretell(self) -> None:
        workflows = self._crew.settings.workflows
        if workflows is not None and time.monotonic() - self._foretold >= workflows.watch_seconds:
            self._foretold = time.monotonic()
            self._job("forecast", _foretell, Pipeline(workflows))


def _clear_messages(crew: Crew) -> None:
    """In portions, between which others write; a power cut undoes some of it at most until the next time."""
    days, now = crew.settings.messages.retention_days, clock.now()
    with contextlib.closing(Reader(crew.store.path)) as reader:
        while ids := reader.read(lapses.old_ids, older_than_days=days, now=now):
            crew.take_in(lapses.clear, ids, now=now, actor=ACTOR)


def _look_for_deadlocks(crew: Crew) -> None:
    """Read first: only what is new, or over, is worth a write. It may take seconds, which nobody is to wait for."""
    asked_before = clock.plus(clock.now(), -crew.settings.health.warn_after_seconds)
    with contextlib.closing(Reader(crew.store.path)) as reader:
        found = reader.read(deadlocks.detect, asked_before=asked_before)
        is_news = reader.read(deadlocks.has_news, found)
    if is_news:
        crew.write(deadlocks.settle, found, now=clock.now(), actor=ACTOR)


def _foretell(crew: Crew, line: Pipeline) -> None:
    """Of what has come to a queue, so that what was said can be held against what came. It takes half a second."""
    with contextlib.closing(Reader(crew.store.path)) as reader:
        if not reader.read(forecasts.is_due):
            return
        seen = reader.read(forecasts.situation, line, now=clock.now())
    crew.write(forecasts.record, seen, seen.outlook(), now=clock.now())
