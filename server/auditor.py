"""Looks for processes of agents that nobody counts any more, and ends them; the oldest of two stays (C-18, L-19).

The index on ``agent_lifecycle`` lets no second agent of a type into a workspace. What it cannot see is a process whose
row says that it has ended, because something outlived the proof of its end. Only processes that carry the path of one
of our own run folders in their environment are touched.
"""

import logging

from . import agents, clock, events, journals, process
from .crew import ACTOR, Crew
from .store import Row, Transaction

log = logging.getLogger(__name__)

SETTLED_SECONDS = 10.0


def end_strays(crew: Crew) -> None:
    """End every process of an agent whose row has ended some seconds ago, and put it down."""
    for prompt_file, count in sorted(process.agents_by_prompt_file(crew.paths.runs).items()):
        row = crew.store.read(_of_run, str(prompt_file.parent))
        if row is None or row["completed_at"] is None:
            continue
        if clock.seconds_between(row["completed_at"], clock.now()) < SETTLED_SECONDS:
            continue
        crew.require_lease()
        process.end_agent(prompt_file, journals.group_of(prompt_file.parent))
        log.warning("ended %d processes that %s had left behind", count, row["agent_id"])
        crew.write(_put_down, row, count, clock.now())


def _of_run(tx: Transaction, run_dir: str) -> Row | None:
    return tx.one("SELECT * FROM agent_lifecycle WHERE run_dir = ?", (run_dir,))


def _put_down(tx: Transaction, row: Row, count: int, now: str) -> None:
    heir = next((other for other in agents.live(tx) if other["workspace"] == row["workspace"]), None)
    events.record(
        tx,
        now=now,
        actor=ACTOR,
        subject_type="agent",
        subject_id=row["agent_id"],
        kind="strays_ended",
        processes=count,
        kept=None if heir is None else heir["agent_id"],
    )
