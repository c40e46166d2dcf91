"""Crewyard's own plan, in JSON or YAML (contract 6)."""

import re
from collections.abc import Mapping
from typing import Any

from .checks import refuse_too_many
from .draft import STATUSES, PlanDraft, PriorityDraft, SpecDraft, TaskDraft
from .fields import Fields, shown
from .notes import Notes
from .syntax import parse_json

FORMAT = "native"
# States that only running work has; a plan that was exported elsewhere may name them.
SPELLINGS = {
    "agent": "agent_type",
    "blocked_by": "depends_on",
    "dependencies": "depends_on",
    "depends": "depends_on",
    "hours": "estimated_hours",
    "needs": "depends_on",
    "requires": "depends_on",
}
RUNNING = ("ready", "assigned", "in_progress", "failed")


def read(text: str, notes: Notes) -> PlanDraft:
    """A plan from its text: JSON where it begins like JSON, YAML otherwise. Refuses broken syntax at once."""
    is_json = text.lstrip()[:1] in ("{", "[") and not notes.name.lower().endswith((".yaml", ".yml"))
    if is_json:
        return from_data(parse_json(text, notes), notes)
    from .yaml_syntax import parse_yaml

    return from_data(parse_yaml(text, notes), notes)


def from_data(data: Any, notes: Notes) -> PlanDraft:
    """A plan from parsed data: an object with ``tasks``, or the list of tasks alone. Notes what is wrong."""
    if isinstance(data, list):
        data = {"tasks": data}
    if not isinstance(data, dict):
        notes.refuse(f"a plan is an object with a list 'tasks', not {shown(data)}", hint='Write {"tasks": […]}.')
    top = Fields(data, "the plan", notes)
    specs = tuple(_spec(Fields(each, where, notes)) for each, where in _objects(top, "specs"))
    priorities = tuple(_priority(Fields(each, where, notes)) for each, where in _objects(top, "priorities"))
    tasks = tuple(_task(Fields(each, where, notes), where) for each, where in _objects(top, "tasks"))
    top.leftovers()
    return PlanDraft(tasks, specs, priorities, format=FORMAT, name=notes.name)


def _objects(top: Fields, key: str) -> list[tuple[dict[Any, Any], str]]:
    value = top.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        top.wrong(key, "a list of objects", value)
        return []
    refuse_too_many(len(value), top.notes)
    found = []
    for index, each in enumerate(value):
        if isinstance(each, dict):
            found.append((each, f"{key}[{index}]"))
        else:
            top.wrong(f"{key}[{index}]", "an object", each)
    return found


def _task(fields: Fields, source: str) -> TaskDraft:
    fields.data = {_spelled(key, fields.data): value for key, value in fields.data.items()}
    task_id = fields.identifier("task_id", "id")
    fields.where = f"task {shown(task_id)}" if task_id else source
    title = fields.line("title")
    if not title and task_id:
        fields.notes.warn("a task without a title is called by its id", fields.where)
    task = TaskDraft(
        task_id,
        title or task_id,
        description=fields.text("description"),
        spec_id=fields.identifier("spec_id") or None,
        priority_id=fields.identifier("priority_id") or None,
        priority=fields.priority("priority"),
        estimated_hours=fields.hours("estimated_hours"),
        depends_on=fields.identifiers("depends_on"),
        soft_depends_on=fields.identifiers("soft_depends_on"),
        files=fields.texts("files"),
        agent_type=fields.agent_type("agent_type"),
        check=fields.check("check"),
        status=_status(fields),
        source=source,
    )
    fields.leftovers()
    return task


def _spelled(key: Any, data: Mapping[Any, Any]) -> Any:
    """The key as we spell it, where it is another spelling of one (``dependsOn``, ``depends on``, ``hours``)."""
    if not isinstance(key, str):
        return key
    snake = re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip())).lower()
    ours = SPELLINGS.get(snake, snake)
    return key if ours in data else ours


def _status(fields: Fields) -> str:
    status = fields.text("status")
    if not status or status in STATUSES:
        return status or "pending"
    if status in RUNNING:
        fields.notes.warn(f"a task that is {status} comes in as pending", fields.where)
    else:
        fields.wrong("status", f"one of {', '.join(STATUSES)}", status)
    return "pending"


def _spec(fields: Fields) -> SpecDraft:
    spec_id = _required_id(fields, "spec_id")
    spec = SpecDraft(
        spec_id,
        title=fields.line("title") or spec_id,
        content=fields.text("content", "description"),
        spec_type=fields.line("spec_type") or "technical",
    )
    fields.leftovers()
    return spec


def _priority(fields: Fields) -> PriorityDraft:
    priority_id = _required_id(fields, "priority_id")
    priority = PriorityDraft(
        priority_id,
        title=fields.line("title") or priority_id,
        content=fields.text("content", "description"),
        spec_id=fields.identifier("spec_id") or None,
    )
    fields.leftovers()
    return priority


def _required_id(fields: Fields, key: str) -> str:
    found = fields.identifier(key, "id")
    if not found:
        fields.notes.problem(f"{fields.where} has no {key}")
    return found
