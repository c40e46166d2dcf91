"""Administrators of the workflows: what they are told when somebody asks for them (R-226)."""

from .. import alerts, events, recipients
from ..errors import InvalidInput
from ..recipients import LEAD
from ..store import Transaction
from ..workflow_sections import Workflows

LONGEST = 2_000


def tell(tx: Transaction, workflows: Workflows, reason: str, details: str, *, now: str, actor: str) -> list[str]:
    """Notify the lead and all administrators; returns the mailboxes. Raises InvalidInput."""
    if not reason.strip():
        raise InvalidInput("There is no reason to be told.", hint="Say why, such as capacity-exceeded.")
    if len(reason) + len(details) > LONGEST:
        raise InvalidInput(f"What is to be told is longer than {LONGEST} characters.", hint="Keep it short.")
    alerts.alert(
        tx, "critical", f"Workflows: {reason.strip()}", details.strip() or f"{actor} asks for attention.", now=now,
        also=workflows.administrators, next="analytics(action='bottlenecks')",
    )  # fmt: skip
    boxes = dict.fromkeys((LEAD, alerts.ADMINISTRATOR, *workflows.administrators))
    told = [box for box in boxes if box == LEAD or recipients.is_type(tx, box)]
    events.record(
        tx, now=now, actor=actor, subject_type="workflows", subject_id="all", kind="administrators_told",
        reason=reason.strip(), told=told,
    )  # fmt: skip
    return told
