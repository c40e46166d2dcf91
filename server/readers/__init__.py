"""Plans in four formats, told apart by content, to one ``PlanDraft`` (contract 6 and 9).

A plan is read whole or refused whole: PlanRefused (or DependencyCycle) names the file and the line or id, and what no
place was found for is among the draft's warnings.
"""

import json
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ..errors import InvalidInput
from . import beads, native, taskmaster
from .checks import check
from .draft import PlanDraft, PriorityDraft, SpecDraft, TaskDraft
from .notes import Notes
from .syntax import MAX_BYTES, decode

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "PlanDraft",
    "PriorityDraft",
    "SpecDraft",
    "TaskDraft",
    "read_data",
    "read_plan",
]

FORMATS = ("auto", "native", "json", "yaml", "markdown", "taskmaster", "beads")
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]", re.MULTILINE)
UNDERLINE = re.compile(r"^\S.*\n {0,3}(=+|-{2,})[ \t]*$", re.MULTILINE)
YAML_PLAN = re.compile(
    r"""(["']?(tasks|specs|priorities)["']?\s*:(\s*([#&!\[|{].*)?$|\s+)|-\s+["']?task_id["']?\s*:)"""
)


def read_plan(
    content: str | bytes,
    *,
    name: str,
    format: str = "auto",  # noqa: A002  # the tools' argument has this name (contract 3)
    subtasks: str = "auto",
    known: Collection[str] = (),
) -> PlanDraft:
    """Read a plan and check it whole.

    ``name`` is the file's, for messages; ``known`` are ids in the database that the plan may depend on; ``subtasks``
    is the setting ``plans.subtasks``. Raises PlanRefused, DependencyCycle, or InvalidInput for an unknown format.
    """
    if format not in FORMATS:
        raise InvalidInput(f"{format!r} is no format of plans.", hint=f"One of {', '.join(FORMATS)}.")
    if subtasks not in taskmaster.SUBTASK_CHOICES:
        raise InvalidInput(f"subtasks cannot be {subtasks!r}.", hint=f"One of {', '.join(taskmaster.SUBTASK_CHOICES)}.")
    notes = Notes(name)
    text = decode(content, notes)
    draft = _read(text, tell(text, name) if format == "auto" else format, notes, subtasks)
    check(draft, notes, known)
    return replace(draft, warnings=notes.warnings())


def read_data(data: Any, *, name: str = "tasks", known: Collection[str] = ()) -> PlanDraft:
    """As ``read_plan``, from data of our own shape that is parsed already: an object, or a list of tasks."""
    notes = Notes(name)
    draft = native.from_data(data, notes)
    check(draft, notes, known)
    return replace(draft, warnings=notes.warnings())


def tell(text: str, name: str = "") -> str:
    """The format of ``text``, by its content; the name decides only where the content leaves two open."""
    suffix = name.lower().rpartition(".")[2]
    start = text.lstrip()
    if start[:1] in ("{", "["):
        return _tell_json(start, suffix)
    if suffix not in ("md", "markdown") and any(YAML_PLAN.match(line) for line in _outside_fences(text)):
        return "native"
    if HEADING.search(text) or UNDERLINE.search(text):
        return "native" if suffix in ("yaml", "yml") else "markdown"
    return "native" if suffix in ("yaml", "yml", "json") else "unknown"


def _tell_json(start: str, suffix: str) -> str:
    if suffix in ("yaml", "yml"):
        return "native"
    first_line = _loads(start.partition("\n")[0])
    if beads.is_issue(first_line):
        return "beads"
    data = _loads(start)
    if taskmaster.is_taskmaster(data):
        return "taskmaster"
    if data is None and HEADING.search(start):
        return "markdown"
    # A file of lines whose first is broken: its reader names the line.
    return "beads" if data is None and suffix == "jsonl" else "native"


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _outside_fences(text: str) -> list[str]:
    found = []
    fence = ""
    for line in text.split("\n"):
        mark = re.match(r" {0,3}(```+|~~~+)", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            found.append(line)
    return found


def _read(text: str, format_: str, notes: Notes, subtasks: str) -> PlanDraft:
    if format_ == "markdown":
        # markdown-it takes 55 ms to import, as much as half the rest of a command line.
        from . import markdown

        return markdown.read(text, notes)
    if format_ == "taskmaster":
        return taskmaster.read(text, notes, subtasks)
    if format_ == "beads":
        return beads.read(text, notes)
    if format_ == "unknown":
        notes.refuse(
            "it is neither JSON, nor YAML with 'tasks:', nor Markdown with headings, nor Beads' JSON lines",
            hint='Write a heading for each task, or {"tasks": [{"task_id": …, "title": …}]}.',
        )
    return native.read(text, notes)
