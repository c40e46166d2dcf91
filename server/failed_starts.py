"""Agents of a type that fail as soon as they start, task after task: hold the type, do not burn the plan (L-18).

Different tasks in a row are counted, so that one broken task stops no other. After the hold one launch is let through
as a trial, best on a task that has not failed yet: if it fails at once too, the hold is doubled; if not, it is lifted.
"""

from dataclasses import dataclass

from . import agents, alerts, backoff, clock, holds
from .store import Row, Transaction
from .wording import stopped

REASON = "failed_starts"
LOOKED_AT = 50
NAMED = 5


@dataclass(frozen=True)
class Limits:
    """``seconds`` within which an agent has failed to start; ``tasks`` in a row that hold the type; first ``pause`` and
    its ``cap`` in seconds; ``pauses`` in a row after which the type is given up."""

    seconds: float
    tasks: int
    pause: float
    cap: float
    pauses: int


def is_one(agent: Row, limits: Limits) -> bool:
    """Whether this ended agent failed to start."""
    return agents.failed_within(agent, limits.seconds) and agents.was_let_in(agent)


def note(tx: Transaction, agent: Row, limits: Limits, *, now: str, actor: str) -> None:
    """Take in how an agent ended: begin, double or lift the hold on its type."""
    agent_type = agent["agent_type"]
    hold = holds.get(tx, agent_type, REASON)
    if not is_one(agent, limits):
        if hold is not None and agent["status"] != "killed" and agent["created_at"] >= hold["until"]:
            holds.lift(tx, agent_type, REASON, now=now, actor=actor)
        return
    tasks = _in_a_row(tx, agent_type, limits)
    if (hold is None and len(tasks) < limits.tasks) or (hold is not None and agent["created_at"] < hold["until"]):
        return
    times = hold["times"] if hold else 0
    pause = backoff.delay(times + 1, limits.pause, max(limits.cap, limits.pause))
    names = ", ".join(sorted(tasks)[:NAMED]) + (" and more" if len(tasks) > NAMED else "")
    message = (
        f"agents of type {agent_type} failed to start on {len(tasks)} tasks in a row ({names}); the last: "
        f"{stopped(agent['error_message'] or '')} `crewyard doctor --try` shows whether it is mended; then "
        "`crewyard run` of the same plan tries at once"
    )
    until = clock.plus(now, pause)
    holds.hold(tx, agent_type, REASON, message, until=until, now=now, actor=actor, again=hold is not None)
    if hold is None:
        title = f"Agents of type {agent_type} fail to start"
        alerts.alert(tx, "high", title, f"{message}. Tried again in {pause:g} s.", now=now, agent_type=agent_type)


def given_up(tx: Transaction, limits: Limits) -> list[Row]:
    """The holds of types whose every trial failed."""
    return tx.all("SELECT * FROM launch_hold WHERE reason = ? AND times > ?", (REASON, limits.pauses))


def _in_a_row(tx: Transaction, agent_type: str, limits: Limits) -> set[str]:
    """The tasks of the latest agents of the type, as far back as all failed to start."""
    rows = tx.all(
        "SELECT * FROM agent_lifecycle WHERE agent_type = ? AND completed_at IS NOT NULL AND status <> 'killed' "
        "ORDER BY completed_at DESC, rowid DESC LIMIT ?",
        (agent_type, LOOKED_AT),
    )
    tasks: set[str] = set()
    for row in rows:
        if not is_one(row, limits):
            break
        tasks.add(row["task_id"])
    return tasks
