"""Ids out of headings, and what other tasks may call them by."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from ..names import is_safe_task_id
from .draft import TaskDraft
from .markdown_fields import bare, split_list

BRACKETED = re.compile(r"\[([^\[\]\s]+)\][:.]?\s+(?:[-\u2013\u2014]\s+)?(\S.*)")
COLON = re.compile(r"([^\s:]+):\s+(\S.*)")
DASH = re.compile(r"([^\s:]+)\s+[-\u2013\u2014]\s+(\S.*)")
MEANT_AS_ID = re.compile(r"[./\\-]|.*(?:[/\\~^?*\[]|\.\.)")
LEAD = re.compile(r"([^:]{1,40}?)\s*(?::\s|[.)]\s|\s[-\u2013\u2014]\s)")
BOX = re.compile(r"\[([ xX])\]\s+(\S.*)")


def split(heading: str) -> tuple[str, str]:
    """Id and title of ``T1: title``, ``[T1] title`` or ``T1 - title``; else a slug and the whole heading."""
    if found := BRACKETED.fullmatch(heading):
        return found[1], found[2]
    if (found := COLON.fullmatch(heading)) and (is_safe_task_id(found[1]) or MEANT_AS_ID.match(found[1])):
        return found[1], found[2]
    if (found := DASH.fullmatch(heading)) and is_safe_task_id(found[1]):
        return found[1], found[2]
    return slug(heading), heading or "untitled"


def slug(title: str) -> str:
    """An id made of a title; a hash of it where it holds no letter that an id may hold."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-")
    return found or "task-" + hashlib.sha256(title.encode()).hexdigest()[:8]


class Resolver:
    """Turns what a task says that it waits for (ids or titles) into ids."""

    def __init__(self, drafts: list[TaskDraft]) -> None:
        self._ids = {draft.task_id for draft in drafts}
        self._names: dict[str, str | None] = {}
        leads: dict[str, str | None] = {}
        for draft in drafts:
            _add(self._names, draft.title, draft.task_id)
            if lead := LEAD.match(draft.title):
                _add(leads, lead[1], draft.task_id)
        self._names = {**leads, **self._names}

    def ids(self, values: Iterable[str]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for value in values:
            whole = self._find(bare(value))
            parts = [whole] if whole else [self._find(part) or part for part in split_list(value)]
            found.update(dict.fromkeys(parts))
        return tuple(found)

    def _find(self, name: str) -> str | None:
        return name if name in self._ids else self._names.get(slug(name)) if name else None


def _add(names: dict[str, str | None], name: str, task_id: str) -> None:
    key = slug(name)
    # A name that two tasks bear names neither.
    names[key] = task_id if names.get(key, task_id) == task_id else None
