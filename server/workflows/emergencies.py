"""Who may use the emergency commands, and what is kept of each use (G-20)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .. import agents, events
from ..errors import NotAuthorized
from ..identity import Caller
from ..store import Transaction

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
