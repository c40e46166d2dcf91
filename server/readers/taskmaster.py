"""Task Master's ``tasks.json``: ``{"tasks": […]}``, or one such object for each tag (contract 9)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .draft import PlanDraft, TaskDraft
from .fields import Fields, shown
from .notes import Notes
from .syntax import parse_json

FORMAT = "taskmaster"
STATUSES = {"done": "completed", "completed": "completed", "cancelled": "cancelled", "canceled": "cancelled"}
UNSTARTED = ("", "pending", "todo")
SUBTASK_CHOICES = ("auto", "tasks", "description")


@dataclass
class _Item:
    """A task or subtask while its dependencies are being resolved. ``key`` is its id without the tag."""

    key: str
    fields: Fields
    depends_on: tuple[str, ...] = ()
    subtasks: list["_Item"] = field(default_factory=list)
    is_expanded: bool = False


def is_taskmaster(data: Any) -> bool:
    """Whether parsed JSON has Task Master's shape and not our own."""
    tasks = [task for _, tasks in _tags(data) for task in tasks if isinstance(task, dict)]
    ours = {"task_id", "depends_on", "soft_depends_on", "estimated_hours", "files", "check", "agent_type", "spec_id"}
    return any("id" in task for task in tasks) and not any(ours & task.keys() for task in tasks)


def _tags(data: Any) -> list[tuple[str, list[Any]]]:
    """Each tag with its tasks; the flat form is one tag without a name."""
    if not isinstance(data, dict):
        return []
    if isinstance(data.get("tasks"), list):
        return [("", data["tasks"])]
    return [
        (tag, value["tasks"])
        for tag, value in data.items()
        if isinstance(value, dict) and isinstance(value.get("tasks"), list)
    ]


def read(text: str, notes: Notes, subtasks: str = "auto") -> PlanDraft:
    """A plan from the text of a tasks.json. ``subtasks`` is the setting ``plans.subtasks``."""
    return from_data(parse_json(text, notes), notes, subtasks)


def from_data(data: Any, notes: Notes, subtasks: str = "auto") -> PlanDraft:
    tags = _tags(data)
    if not tags:
        notes.refuse("no object with a list 'tasks' is in it", hint='Task Master writes {"tasks": […]} or {tag: {…}}.')
    _warn_of_other_keys(data, tags, notes)
    drafts: list[TaskDraft] = []
    for tag, tasks in tags:
        prefix = _prefix(tag, notes) if len(tags) > 1 else ""
        items = list(_items(tasks, tag, prefix, notes, subtasks))
        _resolve(items, notes)
        drafts += (draft for item in items for draft in _drafts(item, prefix, notes))
    return PlanDraft(tuple(drafts), format=FORMAT, name=notes.name)


def _warn_of_other_keys(data: dict[str, Any], tags: list[tuple[str, list[Any]]], notes: Notes) -> None:
    known = {tag for tag, _ in tags} | ({"tasks"} if tags[0][0] == "" else set())
    for key in [key for key in data if key not in known]:
        notes.warn(f"key {shown(key)} has no place here and is left out")
    for tag in [tag for tag, _ in tags if tag]:
        for key in [key for key in data[tag] if key != "tasks"]:
            notes.warn(f"key {shown(key)} has no place here and is left out", f"tag {shown(tag)}")


def _prefix(tag: str, notes: Notes) -> str:
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", tag).strip("-") or "tag"
    if safe != tag:
        notes.warn(f"the tag {shown(tag)} stands as {shown(safe)} in task ids")
    return f"{safe}."


def _items(tasks: list[Any], tag: str, prefix: str, notes: Notes, subtasks: str) -> Iterator[_Item]:
    of_tag = f" of tag {shown(tag)}" if tag else ""
    for index, each in enumerate(tasks):
        item = _item(each, prefix, "", f"tasks[{index}]{of_tag}", notes)
        if item is None:
            continue
        parts = item.fields.get("subtasks")
        if parts is not None and not isinstance(parts, list):
            item.fields.wrong("subtasks", "a list of objects", parts)
            parts = None
        for place, part in enumerate(parts or []):
            sub = _item(part, prefix, item.key, f"subtasks[{place}] of {item.fields.where}", notes)
            item.subtasks += [sub] if sub else []
        wait = any(sub.depends_on for sub in item.subtasks)
        item.is_expanded = bool(item.subtasks) and (subtasks == "tasks" or (subtasks == "auto" and wait))
        yield item


def _item(data: Any, prefix: str, parent: str, where: str, notes: Notes) -> _Item | None:
    if not isinstance(data, dict):
        notes.problem(f"{where} must be an object, not {shown(data)}")
        return None
    fields = Fields(data, where, notes)
    own = fields.identifier("id")
    if not own:
        notes.problem(f"{where} has no id")
        return None
    key = own if not parent or own.startswith(f"{parent}.") else f"{parent}.{own}"
    fields.where = f"task {shown(prefix + key)}"
    return _Item(key, fields, fields.identifiers("dependencies"))


def _resolve(items: list[_Item], notes: Notes) -> None:
    """Turn what each item names as its dependencies into keys of items that become tasks."""
    folded = {sub.key: item.key for item in items if not item.is_expanded for sub in item.subtasks}
    for item in items:
        named = [_unfolded(name, folded, item, notes) for name in item.depends_on]
        item.depends_on = tuple(dict.fromkeys(name for name in named if name))
        siblings = {sub.key for sub in item.subtasks}
        for sub in item.subtasks if item.is_expanded else ():
            own = [f"{item.key}.{name}" if f"{item.key}.{name}" in siblings else name for name in sub.depends_on]
            if item.key in own:
                notes.warn("a subtask cannot wait for its parent, which waits for it: left out", sub.fields.where)
            inherited = [name for name in item.depends_on if name not in siblings]
            named = [_unfolded(name, folded, sub, notes) for name in own if name != item.key]
            sub.depends_on = tuple(dict.fromkeys([name for name in named if name] + inherited))


def _unfolded(name: str, folded: dict[str, str], item: _Item, notes: Notes) -> str:
    if name not in folded:
        return name
    parent = folded[name]
    notes.warn(f"subtask {shown(name)} is part of task {shown(parent)}, which is waited for instead", item.fields.where)
    return parent if parent != item.key else ""


def _drafts(item: _Item, prefix: str, notes: Notes) -> Iterator[TaskDraft]:
    parts = item.subtasks if item.is_expanded else []
    inherited = item.fields.priority("priority")
    for sub in parts:
        priority = sub.fields.priority("priority") if sub.fields.get("priority") is not None else inherited
        yield _draft(sub, prefix, priority, sub.depends_on, _description(sub.fields), notes)
    text = _description(item.fields)
    if item.subtasks and not parts:
        text = "\n\n".join(filter(None, [text, _subtask_list(item.subtasks)]))
    waits = tuple(dict.fromkeys([*item.depends_on, *(sub.key for sub in parts)]))
    yield _draft(item, prefix, inherited, waits, text, notes)


def _draft(
    item: _Item, prefix: str, priority: int, waits: tuple[str, ...], description: str, notes: Notes
) -> TaskDraft:
    fields = item.fields
    status = fields.text("status").lower()
    if status not in STATUSES and status not in UNSTARTED:
        notes.warn(f"a task that is {shown(status)} comes in as pending", fields.where)
    draft = TaskDraft(
        prefix + item.key,
        fields.line("title") or item.key,
        description=description,
        priority=priority,
        depends_on=tuple(prefix + name for name in waits),
        status=STATUSES.get(status, "pending"),
        source=fields.where,
    )
    fields.leftovers()
    return draft


def _description(fields: Fields) -> str:
    parts = [fields.text("description")]
    for key, heading in (("details", "Details"), ("testStrategy", "Test strategy")):
        text = fields.text(key)
        parts += [f"{heading}:\n\n{text}"] if text.strip() else []
    return "\n\n".join(filter(None, parts))


def _subtask_list(subtasks: list[_Item]) -> str:
    lines = ["Subtasks:"]
    for sub in subtasks:
        status = sub.fields.text("status") or "pending"
        after = f", after {', '.join(sub.depends_on)}" if sub.depends_on else ""
        heading = f"{sub.key}. {sub.fields.line('title')} ({status}{after})"
        lines.append(f"\n{heading}\n\n{_description(sub.fields)}".rstrip())
        sub.fields.get("priority")
        sub.fields.leftovers()
    return "\n".join(lines)
