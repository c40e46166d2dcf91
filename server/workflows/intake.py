"""What somebody wants to be made becomes projects: a text, an issue, a file, or a list of them (R-215, R-216)."""

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import holds
from ..errors import InvalidInput
from ..store import Row, Transaction
from . import items, projects
from .pipeline import Pipeline
from .projects import Draft

MOST_PROJECTS = 1_000
ISSUE = re.compile(r"https?://[^\s/]+/(?P<place>[^\s?#]+?)/(?:-/)?issues/(?P<number>\d+)(?:[?#]\S*)?")
KEYS = ("input", "title", "kind", "complexity", "level", "location")


@dataclass(frozen=True)
class Entry:
    """One of a list, and where it stands there."""

    where: str
    value: Any


def of_text(text: str, like: Draft) -> Draft:
    """An issue's address is a project as well: whoever gets it reads the issue."""
    found = ISSUE.fullmatch(text.strip())
    if found is None:
        return replace(like, text=text)
    title = like.title or f"Issue {found['number']} of {found['place']}"
    return replace(like, text=text.strip(), source="issue", title=title)


def of_file(name: str, content: bytes, like: Draft) -> Draft:
    """A requirement document or a scratch pad. Raises InvalidInput, which names it."""
    draft = replace(like, text=_text(name, content), source="file")
    return _checked(draft, name)


def of_batch(name: str, content: bytes, like: Draft) -> list[Draft]:
    """A project a line, or JSON: a list of texts and objects, by itself or as ``projects``. One bad line refuses all.

    A line that is an object is read as one. Blank lines and those that begin with # are none.
    """
    text = _text(name, content)
    entries = _of_json(name, text) if name.lower().endswith(".json") or text.lstrip().startswith("[") else _lines(text)
    if not entries:
        raise InvalidInput(f"{name} lists no project.", hint="One a line, or a JSON list.")
    if len(entries) > MOST_PROJECTS:
        raise InvalidInput(
            f"{name} lists {len(entries)} projects; {MOST_PROJECTS} at a time is the most.", hint="Divide it."
        )
    return [_drafted(f"{name}, {each.where}", each.value, replace(like, source="batch")) for each in entries]


def dispatch(tx: Transaction, line: Pipeline, drafts: Sequence[Draft], *, now: str, actor: str) -> list[Row]:
    """Queue them all for the first stage, or none. Raises InvalidInput."""
    holds.lift_stop(tx, now=now, actor=actor)
    rows = []
    for draft in drafts:
        row = projects.create(tx, draft, line.first, now=now, actor=actor)
        items.enqueue(tx, row["project_id"], line.first, now=now, actor=actor, why=f"dispatched by {actor}")
        rows.append(row)
    return rows


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidInput(f"{name}, line {line}: it is no UTF-8 text.", hint="Save it as UTF-8.") from error


def _lines(text: str) -> list[Entry]:
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        said = line.strip()
        if said and not said.startswith("#"):
            entries.append(Entry(f"line {number}", said))
    return entries


def _of_json(name: str, text: str) -> list[Entry]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise InvalidInput(f"{name}{where}: it is no JSON: {said}.", hint="Mend that, then send it again.") from error
    if isinstance(found, dict) and set(found) == {"projects"}:
        found = found["projects"]
    if not isinstance(found, list):
        raise InvalidInput(f"{name} is no list of projects.", hint='Give ["Make a shop", {"input": "…"}].')
    return [Entry(f"entry {number}", value) for number, value in enumerate(found, start=1)]


def _drafted(where: str, value: Any, like: Draft) -> Draft:
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{where}: it begins like JSON and is none: {error}.", hint="Mend that line.") from error
    if isinstance(value, str):
        return _checked(replace(of_text(value, like), source="batch"), where)
    if not isinstance(value, dict):
        raise InvalidInput(f"{where}: {_shown(value)} is no project.", hint="Give a text, or an object with input.")
    return _checked(_of_object(where, value, like), where)


def _of_object(where: str, value: dict[str, Any], like: Draft) -> Draft:
    for key, given in value.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(KEYS)}."
            raise InvalidInput(f"{where}: a project has no {key!r}.", hint=hint)
        if not isinstance(given, str) and not (key == "level" and type(given) is int):
            raise InvalidInput(f"{where}: {key} is {_shown(given)}, and no text.", hint="Mend that one.")
    texts = {key: given for key, given in value.items() if key not in ("input", "level")}
    draft = replace(of_text(value.get("input", ""), like), source="batch", **texts)
    if "level" not in value:
        return draft
    try:
        return replace(draft, priority=projects.level(value["level"]))
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.message}", hint=error.hint) from error


def _checked(draft: Draft, where: str) -> Draft:
    try:
        projects.check(draft)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.message}", hint=error.hint) from error
    return draft


def _shown(value: object) -> str:
    return json.dumps(value)[:60]
