"""Tasks reserved for agents to come, all or none (R-086 to R-091): whoever reserved them starts the agents by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import assignments, dispatches, message_types, schedule, tasks
from .errors import AlreadyAssigned, CrewyardError, InvalidInput, NoAvailableWork, ResourceExhaustion, ValidationFailed
from .readers.draft import MOST_HOURS
from .store import Row, Transaction


@dataclass(frozen=True)
class Wanted:
    """A task to be reserved; what is not None is of this assignment, the plan's own stays as it is (C-21)."""

    task_id: str
    spec_id: str | None = None
    priority: Any = None
    estimated_hours: Any = None


def reserve(
    tx: Transaction,
    wanted: Sequence[Wanted],
    *,
    max_parallel: int,
    default_agent: str,
    instance_id: str | None,
    now: str,
    actor: str,
) -> list[Row]:
    """The new assignments. Raises ValidationFailed with the fault of each task that has one, and changes nothing."""
    failed, chosen, busy = [], [], dict(dispatches.busy_files(tx))
    room = max_parallel - len(tasks.in_hand(tx))
    for number, each in enumerate(wanted):
        try:
            task = _fit(tx, each, [one.task_id for one in wanted[:number]])
            if number >= room:
                raise ResourceExhaustion(
                    f"{max_parallel - room} tasks are in hand and {len(wanted)} more are asked for; "
                    f"MAX_PARALLEL is {max_parallel}."
                )
            _require_own_files(task, busy)
        except CrewyardError as error:
            failed.append({"task_id": each.task_id, "error": error.code, "message": error.message})
            continue
        busy[each.task_id] = tasks.files_of(task)
        chosen.append((each, task))
    if failed:
        raise ValidationFailed(
            f"{len(failed)} of {len(wanted)} tasks cannot be reserved: {failed[0]['message']}",
            hint="Leave those in failed_tasks out, or mend them; nothing was reserved.",
            failed_tasks=failed,
            created_count=0,
        )
    return [_reserve(tx, each, task, default_agent, instance_id, now=now, actor=actor) for each, task in chosen]


def _fit(tx: Transaction, want: Wanted, before: Sequence[str]) -> Row:
    """The task, where it may be reserved. Raises the fault that it has."""
    if want.task_id in before:
        raise InvalidInput(f"Task {want.task_id} is named twice.")
    task = tasks.get(tx, want.task_id)
    if want.spec_id is not None and want.spec_id != task["spec_id"]:
        raise InvalidInput(f"Task {want.task_id} is of specification {task['spec_id']}, not of {want.spec_id}.")
    if want.priority is not None:
        message_types.priority(want.priority)
    if want.estimated_hours is not None and _hours(want.estimated_hours) <= 0:
        raise InvalidInput(
            f"estimated_hours of {want.task_id} is {want.estimated_hours!r:.50}, and not above 0 and at most "
            f"{MOST_HOURS:g}."
        )
    if blockers := tasks.open_blockers(tx, want.task_id):
        names = ", ".join(row["task_id"] for row in blockers)
        raise NoAvailableWork(f"Task {want.task_id} waits for {names}; both never run together.")
    if assignments.of_task(tx, want.task_id) is not None:
        raise AlreadyAssigned(f"Task {want.task_id} is {task['status']} already.")
    if task["status"] != "ready":
        raise NoAvailableWork(f"Task {want.task_id} is {task['status']}, and not ready.")
    return task


def _require_own_files(task: Row, busy: dict[str, tuple[str, ...]]) -> None:
    """Raises NoAvailableWork where another task works on the same files (G-18)."""
    rival = next((name for name, files in busy.items() if schedule.overlap(tasks.files_of(task), files)), None)
    if rival is not None:
        raise NoAvailableWork(f"Task {task['task_id']} changes files that task {rival} works on.")


def _hours(value: Any) -> float:
    """0 for what is no number of hours."""
    try:
        hours = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return hours if hours <= MOST_HOURS else 0.0


def _reserve(
    tx: Transaction, want: Wanted, task: Row, default_agent: str, instance_id: str | None, *, now: str, actor: str
) -> Row:
    row = assignments.create(
        tx,
        task,
        agent_type=task["agent_type"] or default_agent,
        dispatch_id=None,
        reserved=True,
        instance_id=instance_id,
        now=now,
        actor=actor,
    )
    tx.run(
        "UPDATE orchestrator_task SET priority = coalesce(?, priority), estimated_hours = coalesce(?, estimated_hours) "
        "WHERE orchestrator_task_id = ?",
        (
            None if want.priority is None else message_types.priority(want.priority),
            None if want.estimated_hours is None else _hours(want.estimated_hours),
            row["orchestrator_task_id"],
        ),
    )
    return assignments.get(tx, row["orchestrator_task_id"])
