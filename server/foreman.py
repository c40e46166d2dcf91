"""Keeps projects flowing: settles what workers have ended, and gives what waits to those who are idle.

One look is a few reads where nothing has changed. Each write is one transaction, so a kill leaves the rest to the next.
"""

import json
import logging
from pathlib import Path
from typing import Any

from . import clock
from .crew import ACTOR, Crew
from .store import Row, Transaction
from .workflows import assignment, flow, stops, workers
from .workflows.pipeline import Pipeline

log = logging.getLogger(__name__)

OUTPUT_FILE = "output.json"
MOST_OUTPUT = 262_144


class Foreman:
    """One supervisor's."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._line = None if crew.settings.workflows is None else Pipeline(crew.settings.workflows)

    def look(self) -> None:
        """A step of the supervisor's; nothing where there are no workflows."""
        if self._line is None:
            return
        crew, line = self._crew, self._line
        if not crew.store.read(workers.is_complete, line):
            crew.write(workers.complete, line, now=clock.now(), actor=ACTOR)
        if crew.store.read(stops.at_work):
            grace = crew.settings.crew.grace_period_seconds
            crew.write(stops.end_work, grace_seconds=grace, now=clock.now(), actor=ACTOR)
        for item in crew.store.read(flow.to_settle):
            crew.write(flow.settle, line, item["item_id"], self._left_by(item), now=clock.now(), actor=ACTOR)
        if crew.store.read(assignment.is_called_for):
            crew.write(assignment.distribute, line, now=clock.now(), actor=ACTOR)

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
