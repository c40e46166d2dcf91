"""Field lines of a plan in Markdown: ``depends on: T1, T2`` and its like, with or without markup around them."""

import re
from collections.abc import Mapping

from ..names import AGENT_TYPE
from .draft import DEFAULT_HOURS, DEFAULT_PRIORITY
from .fields import HOURS_RULE, PRIORITY_RULE, Fields, hours_of, priority_of, shown
from .notes import Notes

Values = Mapping[str, list[str]]
KEYS = {
    "depends on": "depends on",
    "dependencies": "depends on",
    "depends": "depends on",
    "blocked by": "depends on",
    "soft depends on": "soft depends on",
    "priority": "priority",
    "hours": "hours",
    "estimated hours": "hours",
    "files": "files",
    "agent": "agent",
    "agent type": "agent",
    "check": "check",
}
LISTS = ("depends on", "soft depends on", "files")
NOTHING = ("", "-", "\u2013", "\u2014", "none", "nothing", "n/a")
MARKER = re.compile(r"\s*(?:(?:[-*+]|\d{1,9}[.)])\s+)?(?:\[[ xX]\]\s+)?")
FIELD = re.compile(r"[*_`]*([A-Za-z][A-Za-z _-]{2,20}?)[*_`]*\s*:(?:\*+|_+)?(?!//)(.*)")
WRAPPED = re.compile(r"(\*{1,3}|_{1,3}|`+|\"|')(.+)\1")
LINK = re.compile(r"\[([^\[\]]+)\]\([^()]*\)")


def field_of(line: str) -> tuple[str, str] | None:
    """The field that a line of a paragraph or list item holds, with its value as written; None where it holds none."""
    found = FIELD.fullmatch(_unwrapped(MARKER.sub("", line, count=1).strip()))
    key = KEYS.get(re.sub(r"[\s_-]+", " ", found[1]).lower()) if found else None
    return (key, found[2].strip()) if found and key else None


def _unwrapped(text: str) -> str:
    """``text`` without the markup that stands around the whole of it."""
    while (found := WRAPPED.fullmatch(text)) and found[1] not in found[2]:
        text = found[2].strip()
    return text


def bare(value: str) -> str:
    """A value without emphasis, backticks, quotes, link targets or brackets around it."""
    value = _unwrapped(LINK.sub(r"\1", value.strip()))
    if value[:1] == "[" and value[-1:] == "]" and not {"[", "]"} & set(value[1:-1]):
        value = _unwrapped(value[1:-1].strip())
    return value


def split_list(value: str) -> list[str]:
    parts = [bare(part) for part in bare(value).split(",")]
    return [part for part in parts if part.lower() not in NOTHING]


def one(values: Values, key: str) -> str:
    return bare(values.get(key, [""])[0])


def priority(values: Values, where: str, notes: Notes) -> int:
    value = one(values, "priority")
    found = priority_of(value) if value else DEFAULT_PRIORITY
    if found is None:
        notes.problem(f"{where}: priority must be {PRIORITY_RULE}, not {shown(value)}")
    return found or DEFAULT_PRIORITY


def hours(values: Values, where: str, notes: Notes) -> float:
    value = one(values, "hours")
    number = re.fullmatch(r"~?\s*(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:h|hrs?|hours?)?", value, re.IGNORECASE)
    found = hours_of(float(number[1])) if number else None if value else DEFAULT_HOURS
    if found is None:
        notes.problem(f"{where}: hours must be {HOURS_RULE}, not {shown(value)}")
    return found or DEFAULT_HOURS


def agent(values: Values, where: str, notes: Notes) -> str | None:
    value = one(values, "agent")
    if value and not AGENT_TYPE.fullmatch(value):
        notes.problem(f"{where}: agent must be a type of agent (letters, digits, '_' and '-'), not {shown(value)}")
    return value or None


def check(values: Values, where: str, notes: Notes) -> tuple[str, ...] | None:
    value = values.get("check", [""])[0]
    inner = value[1:-1]
    if len(value) > 1 and value[0] == value[-1] == "`" and "`" not in inner:
        value = inner
    return Fields({}, where, notes).command("check", value)
