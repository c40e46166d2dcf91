"""Bringing a plan into the database (contract 6).

One import is one transaction: whatever is wrong is raised inside the unit, which rolls it back whole. What has been
started stays as it was started; a plan that changed meanwhile changes only what has not.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import cycles, events, graph, plan_checks, plan_documents, plan_edges, rehearsals, tasks
from .plan_edges import NOT_STARTED
from .plan_export import export_plan
from .readers.draft import PlanDraft, TaskDraft
from .states import TASK
from .store import Row, Transaction

__all__ = ["ImportReport", "export_plan", "import_plan", "known_ids"]

SHOWN = 5


@dataclass(frozen=True)
class ImportReport:
    """What an import changed. Nothing at all, where the plan was in the database already."""

    tasks_added: list[str]
    tasks_updated: list[str]
    tasks_unchanged: int
    dependencies_added: int
    dependencies_removed: int
    warnings: list[str]


@dataclass
class _Work:
    """A plan against the database. ``status_of`` knows every task of the plan and every one that it waits for."""

    draft: PlanDraft
    now: str
    actor: str
    have: dict[str, Row]
    status_of: dict[str, str]
    edges: plan_edges.Edges
    updated: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def new(self) -> list[TaskDraft]:
        return [task for task in self.draft.tasks if task.task_id not in self.have]

    @property
    def not_started(self) -> list[TaskDraft]:
        return [
            task
            for task in self.draft.tasks
            if task.task_id in self.have and self.have[task.task_id]["status"] in NOT_STARTED
        ]

    @property
    def started(self) -> list[TaskDraft]:
        return [
            task
            for task in self.draft.tasks
            if task.task_id in self.have and self.have[task.task_id]["status"] not in NOT_STARTED
        ]


def import_plan(
    tx: Transaction, draft: PlanDraft, *, now: str, actor: str, agent_types: Collection[str] | None = None
) -> ImportReport:
    """Add what is new, update what has not started, leave the rest, and record it as events.

    ``agent_types`` are the configured ones; None checks none. Raises PlanRefused for what does not fit the database,
    DependencyCycle where a circle closes through it; then nothing is changed.
    """
    plan_checks.refuse_unknown_agents(draft, agent_types)
    work = _compare(tx, draft, now, actor)
    documents = plan_documents.store(tx, draft, now=now, actor=actor)
    new, open_ = work.new, work.not_started
    _insert(tx, work, new)
    _update(tx, work, open_)
    changes = plan_edges.difference([*new, *open_], work.edges)
    plan_edges.write(tx, changes, work.status_of, now=now)
    if changes.added:
        waits = ((dependent, blocking) for blocking, dependent in graph.hard_edges(tx))
        cycles.refuse_cycles(waits, draft.name)
    _settle(tx, work, changes, open_)
    _warn_of_cancelled(work, [*new, *open_])
    _warn_of_started(work)
    if new or work.updated or changes.added or changes.removed:
        graph.refresh_remaining_hours(tx)
        rehearsals.rehearse(tx)
    report = ImportReport(
        tasks_added=[task.task_id for task in new],
        tasks_updated=[task.task_id for task in draft.tasks if task.task_id in work.updated],
        tasks_unchanged=len(draft.tasks) - len(new) - len(work.updated),
        dependencies_added=len(changes.added),
        dependencies_removed=len(changes.removed),
        warnings=[*draft.warnings, *work.warnings],
    )
    if new or work.updated or documents:
        _record(tx, work, report)
    return report


def known_ids(tx: Transaction) -> set[str]:
    """Every task's id, for ``readers.read_plan(known=…)``."""
    return {row[0] for row in tx.all("SELECT task_id FROM specs_task")}


# --------------------------------------------------------------------------------------------- before writing


def _compare(tx: Transaction, draft: PlanDraft, now: str, actor: str) -> _Work:
    ids = {task.task_id for task in draft.tasks}
    named = {other for task in draft.tasks for other in (*task.depends_on, *task.soft_depends_on)}
    rows = tx.all(
        "SELECT * FROM specs_task WHERE task_id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids | named)),)
    )
    have = {row["task_id"]: row for row in rows if row["task_id"] in ids}
    status_of = {task.task_id: task.status for task in draft.tasks} | {row["task_id"]: row["status"] for row in rows}
    plan_checks.refuse_missing(draft, named - status_of.keys())
    plan_checks.refuse_waiting_for_itself(draft)
    plan_checks.refuse_twins(tx, draft, ids)
    return _Work(draft, now, actor, have, status_of, plan_edges.existing(tx, have))


# --------------------------------------------------------------------------------------------- writing


def _columns(task: TaskDraft) -> dict[str, Any]:
    return {
        "spec_id": task.spec_id,
        "priority_id": task.priority_id,
        "title": task.title,
        "description": task.description,
        "agent_type": task.agent_type,
        "priority": task.priority,
        "estimated_hours": task.estimated_hours,
        "files": json.dumps(task.files),
        "check_command": None if task.check is None else json.dumps(task.check),
    }


def _insert(tx: Transaction, work: _Work, new: list[TaskDraft]) -> None:
    first = tx.value("SELECT coalesce(max(position) + 1, 0) FROM specs_task")
    rows = []
    for position, task in enumerate(new, start=first):
        unmet = plan_edges.unmet(task, work.status_of)
        status = "ready" if task.status == "pending" and not unmet else task.status
        ended = work.now if status == "completed" else None
        fixed = (task.task_id, status, unmet, position, task.estimated_hours, work.now, work.now, ended)
        rows.append((*fixed, *_columns(task).values()))
    names = "spec_id, priority_id, title, description, agent_type, priority, estimated_hours, files, check_command"
    tx.many(
        "INSERT INTO specs_task (task_id, status, unmet_blockers, position, remaining_hours, created_at, updated_at, "
        f"completed_at, {names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def _changed(task: TaskDraft, row: Row) -> dict[str, Any]:
    return {column: value for column, value in _columns(task).items() if row[column] != value}


def _update(tx: Transaction, work: _Work, open_: list[TaskDraft]) -> None:
    for task in open_:
        changed = _changed(task, work.have[task.task_id])
        if changed:
            work.updated[task.task_id] = list(changed)
            assignments = ", ".join(f"{column} = :{column}" for column in changed)
            tx.run(
                f"UPDATE specs_task SET {assignments}, updated_at = :now_ WHERE task_id = :id_ "
                "AND status IN ('pending', 'ready')",
                {**changed, "now_": work.now, "id_": task.task_id},
            )


def _settle(tx: Transaction, work: _Work, changes: plan_edges.Changes, open_: list[TaskDraft]) -> None:
    """Counters and states of what was in the database before."""
    dependents = changes.dependents()
    touched = [task.task_id for task in open_ if task.task_id in dependents]
    for task_id in touched:
        work.updated.setdefault(task_id, []).append("depends_on")
    plan_edges.recount(tx, touched, now=work.now, actor=work.actor)
    for task in open_:
        if task.status == "completed":
            tasks.complete(tx, task.task_id, now=work.now, actor=work.actor, why="the plan says so")
        elif task.status == "cancelled":
            why = "the plan says so"
            events.change(
                tx, TASK, task.task_id, "cancelled", now=work.now, actor=work.actor, why=why, updated_at=work.now
            )
        if task.status != "pending":
            work.updated.setdefault(task.task_id, []).append("status")


# --------------------------------------------------------------------------------------------- what is told


def _warn_of_cancelled(work: _Work, written: list[TaskDraft]) -> None:
    status_of: Mapping[str, str] = work.status_of | {
        task.task_id: task.status for task in written if task.status == "cancelled"
    }
    waiting: dict[str, list[str]] = {}
    for task in written:
        if task.status == "pending":
            for other in task.depends_on:
                if status_of[other] == "cancelled":
                    waiting.setdefault(other, []).append(task.task_id)
    for other, dependents in waiting.items():
        more = f" and {len(dependents) - SHOWN} more" if len(dependents) > SHOWN else ""
        work.warnings.append(f"task {other} is cancelled, so that {', '.join(dependents[:SHOWN])}{more} cannot start")


def last_imported(tx: Transaction) -> str | None:
    """The name of the plan that was imported last: the path of its file, as it was given."""
    name: str | None = tx.value(
        "SELECT subject_id FROM event WHERE subject_type = 'plan' AND kind = 'plan_imported' "
        "ORDER BY event_id DESC LIMIT 1"
    )
    return name


def _warn_of_started(work: _Work) -> None:
    for task in work.started:
        row = work.have[task.task_id]
        differs = bool(_changed(task, row)) or work.edges.get(task.task_id, {}) != plan_edges.wanted(task)
        if differs or task.status not in ("pending", row["status"]):
            work.warnings.append(f"task {task.task_id} is {row['status']}: its change in the plan is ignored")


def _record(tx: Transaction, work: _Work, report: ImportReport) -> None:
    def event(task_id: str, kind: str, to_state: str | None, data: dict[str, Any]) -> tuple[Any, ...]:
        return (work.now, work.actor, "task", task_id, kind, to_state, json.dumps(data))

    events.record(
        tx,
        now=work.now,
        actor=work.actor,
        subject_type="plan",
        subject_id=work.draft.name,
        kind="plan_imported",
        format=work.draft.format,
        tasks_added=len(report.tasks_added),
        tasks_updated=len(report.tasks_updated),
        dependencies_added=report.dependencies_added,
        dependencies_removed=report.dependencies_removed,
    )
    added = ((task.task_id, plan_edges.unmet(task, work.status_of), task.status) for task in work.new)
    rows = [
        event(task_id, "task_added", "ready" if status == "pending" and not unmet else status, {})
        for task_id, unmet, status in added
    ]
    rows += [event(task_id, "task_updated", None, {"fields": what}) for task_id, what in work.updated.items()]
    # One statement for all: 100,000 calls of events.record take seconds.
    tx.many(
        "INSERT INTO event (at, actor, subject_type, subject_id, kind, to_state, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
