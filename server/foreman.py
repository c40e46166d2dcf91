"""Keeps projects flowing: settles what workers have ended, gives what waits to those who are idle, and has workers come
and go; one that falls silent is failed over.

One look is a few reads where nothing has changed. Each write is one transaction, so a kill leaves the rest to the next.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from . import agents, clock, gates
from .crew import ACTOR, Crew
from .store import Row, Transaction
from .wording import cut
from .workflow_exports import Exports
from .workflows import assignment, capacity, failover, flow, roster, stops, workers
from .workflows.capacity import Host
from .workflows.pipeline import Pipeline

OUTPUT_FILE = "output.json"


class Foreman:
    """One supervisor's. ``guarded`` does a step whose fault stops no other, and says whether it went through."""

    def __init__(self, crew: Crew, guarded: Callable[[Callable[[], None]], bool]) -> None:
        workflows = crew.settings.workflows
        self._crew = crew
        self._guarded = guarded
        self._line = None if workflows is None else Pipeline(workflows)
        has_exports = workflows is not None and workflows.shared_state
        self._exports = Exports(crew, self._line) if self._line is not None and has_exports else None
        self._crowd: tuple[Row, ...] | None = None
        self._watch_again = 0.0

    def look(self) -> None:
        """A step of the supervisor's; nothing where there are no workflows."""
        if self._line is None:
            return
        line, is_watch = self._line, self._is_watch(self._line)
        self._guarded(lambda: self._complete_rosters(line))
        self._guarded(self._end_stopped_work)
        if is_watch:
            self._guarded(lambda: self._fail_over(line))
        for item in self._crew.store.read(flow.to_settle):
            self._settle(line, item)
        self._guarded(lambda: self._distribute(line))
        if is_watch:
            self._guarded(lambda: self._adjust(line))
        if self._exports is not None:
            self._guarded(self._exports.look)

    def _complete_rosters(self, line: Pipeline) -> None:
        if not self._crew.store.read(roster.is_in_order, line):
            self._crew.write(roster.put_in_order, line, now=clock.now(), actor=ACTOR)

    def _end_stopped_work(self) -> None:
        if self._crew.store.read(stops.at_work):
            self._crew.write(stops.end_work, grace_seconds=self._grace, now=clock.now(), actor=ACTOR)

    def _fail_over(self, line: Pipeline) -> None:
        if self._crew.store.read(failover.is_called_for, line, now=clock.now()):
            self._crew.write(failover.attend, line, grace_seconds=self._grace, now=clock.now(), actor=ACTOR)

    def _settle(self, line: Pipeline, item: Row) -> None:
        """What cannot be settled waits for a person, and holds nothing else up."""

        def by_its_task() -> None:
            left = handed_in(self._crew.store.read(_last_run, item["task_id"]))
            self._crew.write(flow.settle, line, item["item_id"], left, now=clock.now(), actor=ACTOR)

        def by_a_person() -> None:
            self._crew.write(flow.settle_by_hand, item["item_id"], now=clock.now(), actor=ACTOR)

        if not self._guarded(by_its_task):
            self._guarded(by_a_person)

    def _distribute(self, line: Pipeline) -> None:
        if self._crew.store.read(assignment.is_called_for):
            self._crew.write(assignment.distribute, line, now=clock.now(), actor=ACTOR)

    def _adjust(self, line: Pipeline) -> None:
        host = self._host()
        if self._crew.store.read(capacity.is_called_for, line, host, now=clock.now()):
            self._crew.write(capacity.adjust, line, host, now=clock.now(), actor=ACTOR)

    @property
    def _grace(self) -> float:
        return self._crew.settings.crew.grace_period_seconds

    def _is_watch(self, line: Pipeline) -> bool:
        """Whether queues and workers are to be looked at: something changed there, somebody is offline, or it is time
        (R-242)."""
        before, self._crowd = self._crowd, tuple(self._crew.store.read(workers.crowd))
        is_calm = self._crowd == before and not any(row["status"] == "offline" for row in self._crowd)
        if is_calm and time.monotonic() < self._watch_again:
            return False
        self._watch_again = time.monotonic() + line.settings.watch_seconds
        return True

    def _host(self) -> Host:
        crew = self._crew
        at_work = crew.store.read(agents.count)
        shut = gates.refusals(crew.machine.load(), crew.settings.launch, agents_at_work=at_work)
        return Host(tuple(each.message for each in shut), crew.settings.instance_limits)


def handed_in(run_dir: str | None) -> flow.Left:
    """What an agent left in its output file, which has no tool to report with: any program may have written it."""
    path = Path(run_dir or "") / OUTPUT_FILE
    if run_dir is None or not path.is_file():
        return flow.Left()
    if path.stat().st_size > flow.MOST_OUTPUT:
        return flow.Left(fault=f"its output file is larger than {flow.MOST_OUTPUT} bytes")
    try:
        found = json.loads(path.read_text("utf-8"), parse_constant=_no_constant)
        json.dumps(found).encode("utf-8")
    except (ValueError, RecursionError) as error:
        return flow.Left(fault=f"its output file is no JSON: {cut(str(error), 200)}")
    return flow.Left(found) if isinstance(found, dict) else flow.Left(fault="its output file holds no JSON object")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON's")


def _last_run(tx: Transaction, task_id: str) -> str | None:
    run_dir: str | None = tx.value(
        "SELECT run_dir FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (task_id,)
    )
    return run_dir
