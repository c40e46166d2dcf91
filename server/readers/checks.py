"""What must hold for a plan as a whole, whatever format it came in."""

import difflib
from collections.abc import Collection, Iterable, Sequence

from .. import cycles
from ..names import TASK_ID_RULE, is_safe_task_id
from .draft import PlanDraft, TaskDraft
from .fields import shown
from .notes import Notes

MOST_TASKS = 200_000
SEARCHED_FOR_NEAR = 3_000


def refuse_too_many(tasks: int, notes: Notes) -> None:
    """Refuses a plan of more tasks than anyone means."""
    if tasks > MOST_TASKS:
        notes.refuse(f"it holds {tasks} tasks, more than {MOST_TASKS}", hint="Split it into several plans.")


def check(draft: PlanDraft, notes: Notes, known: Collection[str] = ()) -> None:
    """Raises PlanRefused or DependencyCycle. ``known`` are ids outside of the plan that it may depend on."""
    refuse_too_many(len(draft.tasks), notes)
    if not draft.tasks and not notes.problem_count:
        notes.refuse("it holds no tasks", hint="A plan holds at least one task.")
    _check_ids(draft.tasks, notes, known)
    _check_doubles("spec_id", [spec.spec_id for spec in draft.specs], notes)
    _check_doubles("priority_id", [priority.priority_id for priority in draft.priorities], notes)
    _check_dependencies(draft.tasks, notes, known)
    chains = cycles.cycles(waits(draft.tasks))
    if chains and not notes.problem_count:
        raise cycles.cycle_error(chains, notes.name)
    for chain in chains:
        notes.problem(f"tasks wait for each other in a circle: {cycles.show_chain(chain)}")
    notes.refuse_if_problems()


def waits(tasks: Iterable[TaskDraft]) -> Iterable[tuple[str, str]]:
    """Each task with each that it waits for. A soft dependency on oneself is a circle too."""
    for task in tasks:
        for other in task.depends_on:
            yield task.task_id, other
        if task.task_id in task.soft_depends_on:
            yield task.task_id, task.task_id


def nearest(name: str, candidates: Collection[str]) -> str:
    """``; did you mean 'x'?``, or nothing where nothing is near."""
    few = [each for index, each in enumerate(candidates) if index < SEARCHED_FOR_NEAR]
    same = [each for each in candidates if each.lower() == name.lower()]
    near = same or difflib.get_close_matches(name[:100], few, n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""


def _check_ids(tasks: Sequence[TaskDraft], notes: Notes, known: Collection[str]) -> None:
    seen: dict[str, TaskDraft] = {}
    outside = {each.lower(): each for each in known}
    for task in tasks:
        if not task.task_id:
            notes.problem(f"{task.source} has no task_id", hint='Give each task a "task_id".')
            continue
        if not is_safe_task_id(task.task_id):
            rule = f"An id holds {TASK_ID_RULE}; it is part of a branch and a folder name."
            notes.problem(f"{task.source}: {shown(task.task_id)} cannot be a task id", hint=rule)
        folded = task.task_id.lower()
        other = seen.setdefault(folded, task)
        if other is not task:
            notes.problem(_double(task, other), hint="Give each task an id of its own.")
        elif outside.get(folded, task.task_id) != task.task_id:
            notes.problem(
                f"{task.source}: the ids {shown(outside[folded])} (in the database) and {shown(task.task_id)} differ "
                "only in case"
            )


def _double(task: TaskDraft, other: TaskDraft) -> str:
    if task.task_id == other.task_id:
        return f"the id {shown(task.task_id)} is used twice ({other.source} and {task.source})"
    return (
        f"the ids {shown(other.task_id)} ({other.source}) and {shown(task.task_id)} ({task.source}) differ only in "
        "case, and their folders may be the same"
    )


def _check_doubles(key: str, ids: list[str], notes: Notes) -> None:
    seen: set[str] = set()
    for each in ids:
        if each and each in seen:
            notes.problem(f"the {key} {shown(each)} is used twice")
        seen.add(each)


def _check_dependencies(tasks: Sequence[TaskDraft], notes: Notes, known: Collection[str]) -> None:
    ids = {task.task_id: None for task in tasks}
    outside = set(known)
    for task in tasks:
        for other in (*task.depends_on, *task.soft_depends_on):
            if other not in ids and other not in outside:
                near = nearest(other, [*ids, *known]) if notes.wants_more else ""
                notes.problem(
                    f"task {shown(task.task_id)} ({task.source}) depends on {shown(other)}, which is not in the "
                    f"plan{near}",
                    hint="Add that task, or take the dependency away.",
                )
        for other in set(task.depends_on) & set(task.soft_depends_on):
            notes.warn(f"the dependency on {shown(other)} is both hard and soft; it counts as hard", task.task_id)
