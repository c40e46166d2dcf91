"""Items of the queues: a project in a workflow, from its arrival to what it hands over (R-204, R-232 to R-235)."""

import itertools
import json
from typing import Any

from .. import assignments, clock, events, states, tasks
from ..errors import IllegalTransition, NotFound
from ..store import Row, Transaction
from . import pipeline, projects, workers
from .pipeline import Pipeline

# A level of priority is worth six hours of waiting: what is urgent goes first, and nothing waits for ever.
ORDER = "i.priority * 0.25 + julianday(coalesce(i.stepped_back_at, i.queued_at)), i.item_id"
OPEN = "('waiting', 'working', 'held', 'review')"


def get(tx: Transaction, item_id: int) -> Row:
    row = tx.one("SELECT * FROM queue_item WHERE item_id = ?", (item_id,))
    if row is None:
        raise NotFound(f"There is no item {item_id} in any queue.")
    return row


def open_of(tx: Transaction, project_id: str) -> list[Row]:
    """Where a project stands in queues, or is worked on."""
    return tx.all(f"SELECT * FROM queue_item WHERE project_id = ? AND status IN {OPEN} ORDER BY item_id", (project_id,))


def of_workflow(tx: Transaction, project_id: str, workflow: str) -> Row | None:
    """The project's open item in that queue."""
    return tx.one(
        f"SELECT * FROM queue_item WHERE project_id = ? AND workflow = ? AND status IN {OPEN}", (project_id, workflow)
    )


def began(tx: Transaction, item: Row) -> str:
    """Since when its worker has it."""
    return str(tx.value("SELECT began_at FROM work_spell WHERE item_id = ? AND ended_at IS NULL", (item["item_id"],)))


def of_task(tx: Transaction, task_id: str) -> Row | None:
    return tx.one("SELECT * FROM queue_item WHERE task_id = ?", (task_id,))


def of_worker(tx: Transaction, worker_id: str) -> Row | None:
    """What it works on."""
    return tx.one("SELECT * FROM queue_item WHERE worker_id = ? AND status = 'working'", (worker_id,))


def waiting(tx: Transaction, workflow: str, *, limit: int = 1000, only: str = "1") -> list[Row]:
    """The queue, in the order in which it is worked off; ``only`` what meets that condition."""
    return tx.all(
        "SELECT i.*, p.kind, p.complexity, p.location, p.title FROM queue_item i JOIN project p USING (project_id) "
        f"WHERE i.workflow = ? AND i.status = 'waiting' AND {only} ORDER BY {ORDER} LIMIT ?",
        (workflow, limit),
    )


def depth(tx: Transaction, workflow: str) -> int:
    """How many wait."""
    return int(tx.value("SELECT count(*) FROM queue_item WHERE workflow = ? AND status = 'waiting'", (workflow,)))


def in_review(tx: Transaction, *, limit: int = 1000) -> list[Row]:
    """The review queue, with the errors that brought its items there (R-235)."""
    return tx.all(
        "SELECT i.*, p.title FROM queue_item i JOIN project p USING (project_id) WHERE i.status = 'review' "
        f"ORDER BY {ORDER} LIMIT ?",
        (limit,),
    )


def last_of(tx: Transaction, project_id: str, workflow: str) -> Row | None:
    """The project's latest item in that queue, open or over."""
    return tx.one(
        "SELECT * FROM queue_item WHERE project_id = ? AND workflow = ? ORDER BY item_id DESC LIMIT 1",
        (project_id, workflow),
    )


def is_done(tx: Transaction, project_id: str, workflow: str) -> bool:
    """Whether the project is through that stage, the last time that it was in it."""
    last = last_of(tx, project_id, workflow)
    return last is not None and last["status"] == "done"


def enqueue(
    tx: Transaction, project_id: str, workflow: str, *, now: str, actor: str, why: str = "", rework_count: int = 0,
    note: str | None = None,
) -> Row:  # fmt: skip
    """Put the project into that queue, and note how far it has come; that of a stopped project is held there.

    ``note`` is what a review said, for whoever gets it. Raises IllegalTransition where it is in it.
    """
    present = of_workflow(tx, project_id, workflow)
    if present is not None:
        raise IllegalTransition(
            f"{project_id} is in {workflow} already: {present['status']}.",
            hint=f"projects(action='status', project_id={project_id!r}) tells more.",
            project_id=project_id,
            workflow=workflow,
        )
    project = projects.get(tx, project_id)
    row = tx.only(
        "INSERT INTO queue_item (project_id, workflow, priority, queued_at, rework_count, review_note) "
        "VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
        (project_id, workflow, project["priority"], now, rework_count, note),
    )
    projects.reached(tx, project_id, workflow, now=now)
    events.record(
        tx, now=now, actor=actor, subject_type="item", subject_id=row["item_id"], kind="item_waiting",
        to_state="waiting", project_id=project_id, workflow=workflow, why=why,
    )  # fmt: skip
    return hold(tx, row, now=now, actor=actor, why="its project is stopped") if project["status"] == "held" else row


def hold(tx: Transaction, item: Row, *, now: str, actor: str, why: str) -> Row:
    """It keeps its place, and nobody gets it until its project goes on (G-11)."""
    return events.transition(
        tx, states.ITEM, item["item_id"], "held", now=now, actor=actor, why=why,
        facts={"project_id": item["project_id"]},
    )  # fmt: skip


def put_back(tx: Transaction, item: Row, *, now: str, actor: str, why: str, **columns: Any) -> Row:
    """What was held, or came out of review, waits again, with the age that it has."""
    return events.transition(
        tx, states.ITEM, item["item_id"], "waiting", now=now, actor=actor, why=why,
        facts={"project_id": item["project_id"], "workflow": item["workflow"]}, **columns,
    )  # fmt: skip


def give(tx: Transaction, line: Pipeline, item: Row, worker: Row, *, now: str, actor: str, why: str) -> Row:
    """The worker has it from now on; its agent starts as soon as the machine has room. Returns the assignment."""
    project = projects.get(tx, item["project_id"])
    task = _task_of(tx, line, item, project, now=now, actor=actor)
    task_id = task["task_id"]
    assignment = assignments.create(
        tx, task, agent_type=worker["agent_type"], dispatch_id=None, to_worker=True, now=now, actor=actor
    )
    if item["review_note"]:
        assignments.tell(tx, assignment["orchestrator_task_id"], f"A review of it said: {item['review_note']}")
    if line.settings.review_immediately:
        assignments.note(tx, assignment["orchestrator_task_id"], max_restarts=0)
    events.change(
        tx, states.ITEM, item["item_id"], "working", now=now, actor=actor, why=why,
        facts={"worker": worker["worker_id"], "task_id": task_id, "project_id": item["project_id"]},
        worker_id=worker["worker_id"], wanted_worker=None, task_id=task_id, started_at=item["started_at"] or now,
        error_code=None, error_message=None, review_note=None,
    )  # fmt: skip
    workers.busy(tx, worker["worker_id"], item["item_id"], now=now, actor=actor)
    tx.run(
        "INSERT INTO work_spell (item_id, worker_id, workflow, began_at) VALUES (?, ?, ?, ?)",
        (item["item_id"], worker["worker_id"], item["workflow"], now),
    )
    return assignment


def ended(
    tx: Transaction, item: Row, want: str, outcome: str, *, now: str, actor: str, why: str, **columns: Any
) -> None:
    """What a worker had is no longer its own: its item becomes ``want``, its spell ends, it is free."""
    is_over = want in ("done", "rejected")
    events.change(
        tx, states.ITEM, item["item_id"], want, now=now, actor=actor, why=why, ended_at=now if is_over else None,
        facts={"worker": item["worker_id"], "project_id": item["project_id"]}, **columns,
    )  # fmt: skip
    tx.run(
        "UPDATE work_spell SET ended_at = ?, outcome = ? WHERE item_id = ? AND ended_at IS NULL",
        (now, outcome, item["item_id"]),
    )
    if item["status"] == "working":
        workers.free(tx, item["worker_id"], now=now, actor=actor, why=why)


def drop(tx: Transaction, item: Row, *, now: str, actor: str, why: str) -> None:
    """Nobody works on it any more, nor on its task, as far as that is not done."""
    ended(tx, item, "rejected", "rejected", now=now, actor=actor, why=why)
    task = tasks.get(tx, item["task_id"]) if item["task_id"] else None
    if task is not None and task["status"] in ("pending", "ready", "failed"):
        tasks.update_status(tx, task["task_id"], "cancelled", now=now, actor=actor)


def waited_seconds(item: Row, now: str) -> float:
    return clock.seconds_between(item["queued_at"], now)


def _task_of(tx: Transaction, line: Pipeline, item: Row, project: Row, *, now: str, actor: str) -> Row:
    """The item's task, ready to be given: the one that it had, or a new one where that is over."""
    task = tasks.get(tx, item["task_id"]) if item["task_id"] else None
    if task is None or task["status"] == "completed":
        return _new_task(tx, line, item, project, now=now, actor=actor)
    if task["status"] != "ready":
        tasks.release(tx, task["task_id"], now=now, actor=actor, why="it comes out of review")
    return tasks.get(tx, task["task_id"])


def _new_task(tx: Transaction, line: Pipeline, item: Row, project: Row, *, now: str, actor: str) -> Row:
    workflow = item["workflow"]
    task_id = base = f"{project['project_id']}-{workflow}"
    rounds = itertools.count(2)
    while tx.one("SELECT 1 FROM specs_task WHERE task_id = ?", (task_id,)):
        task_id = f"{base}-{next(rounds)}"
    stage = line.stage(workflow)
    return tasks.add(
        tx, task_id, f"{project['title']} ({workflow})", _description(tx, line, workflow, project),
        priority=item["priority"], check=stage.check, now=now, actor=actor,
    )  # fmt: skip


def _description(tx: Transaction, line: Pipeline, workflow: str, project: Row) -> str:
    stage = line.stage(workflow)
    before = projects.outputs(tx, project["project_id"])
    parts = [stage.instructions, f"## The project {project['project_id']}", project["input"]]
    for name, output in before.items():
        parts += [f"## What {name} handed over", f"```json\n{json.dumps(output, indent=2, ensure_ascii=False)}\n```"]
    if said := pipeline.briefing(stage):
        parts += ["## What to hand over", said]
    return "\n\n".join(part for part in parts if part)
