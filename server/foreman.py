"""Keeps projects flowing: settles what workers have ended, gives what waits to those who are idle, and has workers come
and go; one that falls silent is failed over.

One look is a few reads where nothing has changed. Each write is one transaction, so a kill leaves the rest to the next.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

from . import agents, clock, gates
from .crew import ACTOR, Crew
from .store import Row, Transaction
from .workflow_exports import Exports
from .workflows import assignment, capacity, failover, flow, stops, workers
from .workflows.capacity import Host
from .workflows.pipeline import Pipeline

log = logging.getLogger(__name__)

OUTPUT_FILE = "output.json"
MOST_OUTPUT = 262_144


class Foreman:
    """One supervisor's."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._line = None if crew.settings.workflows is None else Pipeline(crew.settings.workflows)
        has_exports = crew.settings.workflows is not None and crew.settings.workflows.shared_state
        self._exports = Exports(crew, self._line) if self._line is not None and has_exports else None
        self._crowd: tuple[Row, ...] | None = None
        self._watch_again = 0.0

    def look(self) -> None:
        """A step of the supervisor's; nothing where there are no workflows."""
        if self._line is None:
            return
        crew, line = self._crew, self._line
        if not crew.store.read(workers.is_complete, line):
            crew.write(workers.complete, line, now=clock.now(), actor=ACTOR)
        grace = crew.settings.crew.grace_period_seconds
        if crew.store.read(stops.at_work):
            crew.write(stops.end_work, grace_seconds=grace, now=clock.now(), actor=ACTOR)
        is_watch = self._is_watch(line)
        if is_watch and crew.store.read(failover.is_called_for, line, now=clock.now()):
            crew.write(failover.attend, line, grace_seconds=grace, now=clock.now(), actor=ACTOR)
        for item in crew.store.read(flow.to_settle):
            crew.write(flow.settle, line, item["item_id"], self._left_by(item), now=clock.now(), actor=ACTOR)
        if crew.store.read(assignment.is_called_for):
            crew.write(assignment.distribute, line, now=clock.now(), actor=ACTOR)
        if is_watch and crew.store.read(capacity.is_called_for, line, host := self._host(), now=clock.now()):
            crew.write(capacity.adjust, line, host, now=clock.now(), actor=ACTOR)
        if self._exports is not None:
            self._exports.look()

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

    def _left_by(self, item: Row) -> dict[str, Any] | None:
        """The output that the item's last agent left in its file, where it has no tool to report with."""
        run_dir = self._crew.store.read(_last_run, item["task_id"])
        path = Path(run_dir or "") / OUTPUT_FILE
        if run_dir is None or not path.is_file() or path.stat().st_size > MOST_OUTPUT:
            return None
        try:
            left = json.loads(path.read_bytes())
        except ValueError as error:
            log.warning("the output of %s is no JSON: %s", item["task_id"], error)
            return None
        return left if isinstance(left, dict) else None


def _last_run(tx: Transaction, task_id: str) -> str | None:
    run_dir: str | None = tx.value(
        "SELECT run_dir FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (task_id,)
    )
    return run_dir
