"""The ``shared-state/`` tree of document 003, as it follows from the database: files by their path (R-253 to R-255)."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .. import events
from ..store import Row, Transaction
from . import items, projects
from .pipeline import Pipeline

MARK = "crewyard workflow export"
LONGEST = 2_000
PLACE = ("item_id", "workflow", "worker_id", "task_id", "queued_at", "started_at", "ended_at", "rework_count")
ERROR = ("error_code", "error_message")

Tree = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Changes:
    """What happened up to the event ``last``: to these projects, and whether to anything that is exported."""

    last: int
    projects: frozenset[str]
    any: bool


def since(tx: Transaction, event_id: int | None) -> Changes:
    """What came after that event; without one, anything may have."""
    if event_id is None:
        return Changes(events.latest(tx), frozenset(), any=True)
    rows = tx.all(
        "SELECT e.subject_type, e.subject_id, i.project_id FROM event e LEFT JOIN queue_item i ON "
        "e.subject_type = 'item' AND i.item_id = CAST(e.subject_id AS INTEGER) "
        "WHERE e.event_id > ? AND e.subject_type IN ('project', 'item', 'worker', 'agent')",
        (event_id,),
    )
    named = (row["subject_id"] if row["subject_type"] == "project" else row["project_id"] for row in rows)
    return Changes(events.latest(tx), frozenset(name for name in named if name), bool(rows))


def tree(tx: Transaction, line: Pipeline, of: Collection[str] | None) -> Tree:
    """All queues and workers, and these projects; without ``of`` all of them."""
    files: Tree = {}
    every = [row["project_id"] for row in tx.all("SELECT project_id FROM project")] if of is None else of
    for name in every:
        files |= _project(tx, line, projects.get(tx, name))
    for name in line.names:
        files[f"queues/{name}-queue/items.json"] = _queue(tx, name)
    rows = items.in_review(tx, limit=LONGEST)
    files["queues/review-queue/items.json"] = {"queue": "review", "items": [_place(row, ERROR) for row in rows]}
    for row in tx.all("SELECT * FROM worker ORDER BY worker_id"):
        files[f"instances/{row['worker_id']}.json"] = _worker(tx, row)
    return {path: {"generator": MARK, **content} for path, content in files.items()}


def _project(tx: Transaction, line: Pipeline, project: Row) -> Tree:
    """A file for each stage that has something to show, progress where that is handed over as well; then its status, so
    that whoever reads there of a stage's end finds what it handed over."""
    name = project["project_id"]
    rows = tx.all("SELECT * FROM queue_item WHERE project_id = ? ORDER BY item_id", (name,))
    files: Tree = {}
    for stage in line.names:
        mine = [row for row in rows if row["workflow"] == stage]
        outputs = [json.loads(row["output"]) for row in mine if row["output"]]
        output = outputs[-1] if outputs else None
        if mine and line.stage(stage).hands_over == "deployed":
            told = {"output": output, "milestones": _milestones(tx, name, stage)}
            files[f"projects/{name}/{stage}-progress.json"] = _of_stage(project, mine[-1]) | told
        elif output is not None:
            files[f"projects/{name}/{stage}-output.json"] = _of_stage(project, mine[-1]) | {"output": output}
    shown = {key: project[key] for key in project.keys() if key not in ("input", "priority")}  # noqa: SIM118
    told = {"level": projects.level_name(project["priority"]), "assignments": [_place(row) for row in rows]}
    return files | {f"projects/{name}/status.json": shown | told}


def _of_stage(project: Row, item: Row) -> dict[str, Any]:
    kept = ("project_id", "repository_url", "deployment_url")
    return {key: project[key] for key in kept} | {"status": item["status"], "worker_id": item["worker_id"]}


def _milestones(tx: Transaction, project_id: str, stage: str) -> list[dict[str, Any]]:
    rows = tx.all(
        "SELECT at, actor, data FROM event WHERE subject_type = 'project' AND subject_id = ? AND kind = ? "
        "ORDER BY event_id",
        (project_id, f"{stage}_milestone"),
    )
    return [{"at": row["at"], "by": row["actor"], "output": json.loads(row["data"]).get("output")} for row in rows]


def _queue(tx: Transaction, name: str) -> dict[str, Any]:
    """What waits, in its order; then what is in work or held."""
    others = tx.all(
        "SELECT i.*, p.title FROM queue_item i JOIN project p USING (project_id) "
        "WHERE i.workflow = ? AND i.status IN ('working', 'held') ORDER BY i.item_id",
        (name,),
    )
    waiting = items.waiting(tx, name, limit=LONGEST)
    return {"queue": name, "waiting": items.depth(tx, name), "items": [_place(row) for row in [*waiting, *others]]}


def _place(row: Row, more: Collection[str] = ERROR) -> dict[str, Any]:
    """A place in a queue."""
    told = {"project_id": row["project_id"], "status": row["status"], "level": projects.level_name(row["priority"])}
    return told | {key: row[key] for key in (*PLACE, *more) if row[key] is not None}


def _worker(tx: Transaction, worker: Row) -> dict[str, Any]:
    """Its heartbeat is that of its agent; idle it has neither."""
    item = items.of_worker(tx, worker["worker_id"])
    agent = None if item is None else tx.one(
        "SELECT agent_id, last_heartbeat FROM agent_lifecycle WHERE task_id = ? AND completed_at IS NULL",
        (item["task_id"],),
    )  # fmt: skip
    told: dict[str, Any] = {
        key: worker[key] for key in ("worker_id", "workflow", "status", "agent_type", "origin", "location", "since")
    }
    told |= {"specialities": json.loads(worker["specialities"]), "offline_since": worker["offline_since"]}
    told |= {"heartbeat": None if agent is None else agent["last_heartbeat"], "assignment": None}
    if item is not None:
        told["assignment"] = {key: item[key] for key in ("project_id", "workflow", "task_id", "started_at")} | {
            "agent_id": None if agent is None else agent["agent_id"]
        }
    return told
