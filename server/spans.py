"""Spans of dispatches, agents and merges, made from the events that tell how they began and ended.

Their ids follow from the events' subjects, so that whoever exports a span again, after a crash or as another server,
exports the same one. What was exported last is an event itself: at least once, never out of a second memory.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import events
from .store import Row, Transaction

MOST = 200
WELL = ("completed", "merged")
_ENDS = (
    "(subject_type = 'dispatch' AND to_state IN ('completed', 'cancelled')) OR (subject_type = 'agent' AND to_state IN "
    "('completed', 'failed', 'killed', 'timeout', 'lost')) OR (subject_type = 'merge' AND to_state IN "
    "('merged', 'conflicted', 'rejected', 'cancelled'))"
)
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """One piece of work that has ended. ``error`` is what it failed by; times are those of the events."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    start: str
    end: str
    attributes: dict[str, str | int | float]
    error: str | None = None


def position(tx: Transaction) -> int | None:
    """The event up to which spans were exported; None where none ever was."""
    told = events.of(tx, "telemetry", "spans", limit=1)
    return int(json.loads(told[-1]["data"])["upto"]) if told else None


def begin(tx: Transaction, *, now: str, actor: str) -> None:
    """Spans are told of what ends from here on."""
    exported(tx, events.latest(tx), 0, now=now, actor=actor)


def exported(tx: Transaction, upto: int, number: int, *, now: str, actor: str) -> None:
    """Put down that ``number`` spans, and all up to this event, were taken by the collector."""
    events.record(
        tx, now=now, actor=actor, subject_type="telemetry", subject_id="spans", kind="spans_exported", upto=upto,
        number=number,
    )  # fmt: skip


def ended_after(tx: Transaction, event_id: int, limit: int = MOST) -> tuple[list[Span], int]:
    """The spans of what ended behind this event, in that order, and the event up to which that is all."""
    latest = events.latest(tx)
    rows = tx.all(
        f"SELECT * FROM event WHERE event_id > ? AND event_id <= ? AND ({_ENDS}) ORDER BY event_id LIMIT ?",
        (event_id, latest, limit),
    )
    spans = [span for row in rows if (span := _span(tx, row)) is not None]
    return spans, rows[-1]["event_id"] if len(rows) == limit else latest


def _span(tx: Transaction, end: Row) -> Span | None:
    """None where it is not known how it began, as of what older versions recorded."""
    began = tx.one(
        "SELECT * FROM event WHERE subject_type = ? AND subject_id = ? ORDER BY event_id LIMIT 1",
        (end["subject_type"], end["subject_id"]),
    )
    facts: dict[str, Any] = json.loads(began["data"]) if began is not None else {}
    made = MAKERS[end["subject_type"]]
    if began is None or (made is not _dispatch and "assignment" not in facts):
        return None
    last: dict[str, Any] = json.loads(end["data"])
    trace = f"dispatch {facts['dispatch']}" if facts.get("dispatch") else f"assignment {facts.get('assignment')}"
    if made is _dispatch:
        trace = f"dispatch {end['subject_id']}"
    name, parent, attributes = made(end["subject_id"], facts, last)
    is_well = end["to_state"] in WELL or (made is _dispatch and end["to_state"] == "cancelled")
    kept = {key: value for key, value in attributes.items() if value is not None}
    if not is_well:
        kept["error.type"] = str(last.get("code") or last.get("limit") or end["to_state"])
    return Span(
        name,
        _number(trace, 16),
        _number(f"{trace} {end['subject_type']} {end['subject_id']}", 8),
        None if parent is None else _number(f"{trace} {parent}", 8),
        began["at"],
        max(began["at"], end["at"]),
        {**kept, f"crewyard.{end['subject_type']}.state": end["to_state"]},
        None if is_well else str(last.get("why") or end["to_state"]),
    )


Made = tuple[str, str | None, dict[str, Any]]


def _dispatch(name: str, facts: Facts, _last: Facts) -> Made:
    known = {"tasks": facts.get("tasks"), "max_parallel": facts.get("max_parallel")}
    return "dispatch", None, {"crewyard.dispatch.id": name, **{f"crewyard.dispatch.{k}": v for k, v in known.items()}}


def _agent(name: str, facts: Facts, last: Facts) -> Made:
    """By the conventions for generative agents, as far as they have a name for it."""
    return (
        f"invoke_agent {facts['agent_type']}",
        _parent(facts),
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.id": name,
            "gen_ai.agent.name": facts["agent_type"],
            "process.exit.code": last.get("exit_code"),
            "crewyard.agent.attempt": facts.get("attempt"),
            "crewyard.agent.program": facts.get("program"),
            "crewyard.task.id": facts.get("task_id"),
            "crewyard.dispatch.id": facts.get("dispatch"),
        },
    )


def _merge(name: str, facts: Facts, last: Facts) -> Made:
    return (
        "merge",
        f"agent {facts['agent_id']}" if facts.get("agent_id") else _parent(facts),
        {
            "vcs.ref.base.name": facts.get("target"),
            "vcs.ref.head.revision": facts.get("head"),
            "crewyard.merge.id": int(name),
            "crewyard.merge.commit": last.get("commit"),
            "crewyard.task.id": facts.get("task_id"),
            "crewyard.dispatch.id": facts.get("dispatch"),
        },
    )


def _parent(facts: Facts) -> str | None:
    return f"dispatch {facts['dispatch']}" if facts.get("dispatch") else None


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1


MAKERS: dict[str, Callable[[str, Facts, Facts], Made]] = {"dispatch": _dispatch, "agent": _agent, "merge": _merge}
