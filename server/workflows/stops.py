"""The emergency stop of a project, and its end (R-219, G-11).

Its places in queues are held, and who works for it is ended gently; the work is kept. What would start in spite of
that, a restart that was due, is taken back by the next look, before anything is launched.
"""

from dataclasses import dataclass

from .. import agents, assignments, holds
from ..errors import IllegalTransition
from ..store import Row, Transaction
from . import flow, items, projects
from .pipeline import Pipeline


@dataclass(frozen=True)
class Stopped:
    """``held``: the workflows in which its place is kept; ``ending``: its agents, which end now."""

    project: Row
    held: list[str]
    ending: list[str]


def stop(tx: Transaction, project_id: str, *, why: str, grace_seconds: float, now: str, actor: str) -> Stopped:
    """Halt all work on it. Asked again, it changes nothing more. Raises ProjectNotFound, IllegalTransition."""
    project = projects.get(tx, project_id)
    if project["status"] in projects.CLOSED:
        raise IllegalTransition(
            f"Project {project_id} is {project['status']}; nobody works on it.",
            hint=f"projects(action='status', project_id={project_id!r}) tells what it handed over.",
            project_id=project_id,
        )
    if project["status"] != "held":
        project = projects.change(tx, project_id, "held", now=now, actor=actor, why=why)
    for item in items.open_of(tx, project_id):
        if item["status"] == "waiting":
            items.hold(tx, item, now=now, actor=actor, why="its project is stopped")
    ending = end_work(tx, grace_seconds=grace_seconds, now=now, actor=actor)
    held = [each["workflow"] for each in items.open_of(tx, project_id) if each["status"] in ("held", "working")]
    return Stopped(project, held, ending)


def resume(tx: Transaction, line: Pipeline, project_id: str, *, why: str, now: str, actor: str) -> Row:
    """It goes on where it stood: in its queues, with the age that it has, or in review.

    Raises ProjectNotFound, IllegalTransition.
    """
    project = projects.get(tx, project_id)
    if project["status"] != "held":
        raise IllegalTransition(
            f"Project {project_id} is {project['status']}; it was not stopped.",
            hint=f"why(subject={project_id!r}) tells what it waits for.",
            project_id=project_id,
        )
    holds.lift_stop(tx, now=now, actor=actor)
    projects.change(tx, project_id, "active", now=now, actor=actor, why=why)
    found = items.open_of(tx, project_id)
    for item in found:
        if item["status"] == "held":
            items.put_back(tx, item, now=now, actor=actor, why="its project goes on")
    if any(item["status"] == "review" for item in found):
        projects.change(tx, project_id, "review", now=now, actor=actor, why="it waits for a judgement")
    elif items.is_done(tx, project_id, line.names[-1]):
        flow.complete_idle_project(tx, project_id, now=now, actor=actor)
    return projects.get(tx, project_id)


def at_work(tx: Transaction) -> list[Row]:
    """What is under way for projects that are stopped or rejected: an agent that nobody has ended, a start to come."""
    return tx.all(
        "SELECT i.project_id, o.orchestrator_task_id, a.agent_id FROM queue_item i CROSS JOIN project p "
        "ON p.project_id = i.project_id CROSS JOIN orchestrator_task o ON o.task_id = i.task_id "
        "AND o.status IN ('assigned', 'running') LEFT JOIN agent_lifecycle a "
        "ON a.orchestrator_task_id = o.orchestrator_task_id AND a.status IN ('starting', 'running') "
        "WHERE i.status = 'working' AND i.worker_id > '' AND p.status IN ('held', 'rejected') "
        "AND (a.kill_requested_at IS NULL AND (a.agent_id IS NOT NULL OR o.status = 'assigned'))"
    )


def end_work(tx: Transaction, *, grace_seconds: float, now: str, actor: str) -> list[str]:
    """End those agents gently, and take back what has none; returns the agents. What is proven already is merged."""
    ending = []
    for row in at_work(tx):
        why = f"project {row['project_id']} was stopped"
        if row["agent_id"] is None:
            assignments.release(tx, row["orchestrator_task_id"], why=why, now=now, actor=actor)
            continue
        agents.request_kill(
            tx, row["agent_id"], reason=why, outcome="release", grace_seconds=grace_seconds, now=now, actor=actor
        )
        ending.append(str(row["agent_id"]))
    return ending
