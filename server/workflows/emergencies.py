"""Who may use the emergency commands, and what is kept of each use (G-20)."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .. import agents, events
from ..errors import NotAuthorized
from ..identity import Caller
from ..store import Transaction
from . import items

SUBJECT = "emergency"
ASK = "report(action='question') asks the lead."


def require_permitted(
    tx: Transaction, caller: Caller, name: str, administrators: Collection[str], *, is_emergency: bool
) -> None:
    """Raises NotAuthorized for an agent, unless that is an administrator in an emergency."""
    if caller.is_lead or (is_emergency and agents.get(tx, caller.name)["agent_type"] in administrators):
        return
    if not is_emergency:
        raise NotAuthorized(f"Only the lead may give /{name}.", hint=ASK, agent_id=caller.name)
    raise NotAuthorized(
        "Only the lead, and agents of the types in workflows.administrators "
        f"({', '.join(administrators) or 'none'}), may use emergency commands.",
        hint=ASK,
        agent_id=caller.name,
    )


def begun(tx: Transaction, name: str, given: Mapping[str, Any], *, now: str, actor: str) -> None:
    """Recorded before the first step: whoever is killed in between leaves that behind."""
    events.record(
        tx, now=now, actor=actor, subject_type=SUBJECT, subject_id=name, kind="emergency_begun", given=dict(given)
    )


def ended(tx: Transaction, name: str, steps: Sequence[Mapping[str, Any]], *, now: str, actor: str) -> None:
    """``steps``: each call and what came of it."""
    events.record(
        tx, now=now, actor=actor, subject_type=SUBJECT, subject_id=name, kind="emergency_ended", steps=list(steps)
    )


def open_incident(
    tx: Transaction,
    workflows: Collection[str],
    name: str,
    given: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]],
    *,
    now: str,
    actor: str,
) -> int:
    """Keep what was done, and how deep the queues are after it; returns its id."""
    depths = {workflow: items.depth(tx, workflow) for workflow in workflows}
    facts = {"command": name, "given": dict(given), "steps": list(steps), "waiting": depths}
    return tx.insert(
        "INSERT INTO incident (cause, details, facts, opened_by, at) VALUES (?, ?, ?, ?, ?)",
        (name, str(given.get("details", "")), json.dumps(facts), actor, now),
    )
