"""When the machine runs short of something: recorded and told once for each time that lasts (R-148, R-152, C-38).

The record is the events ``resource_critical`` and ``resource_relieved``, so that a time goes on over the death of
whoever supervises. What holds launches meanwhile are the dispatcher's own gates (``gates``, ``holds``).
"""

from dataclasses import dataclass
from typing import Any

from . import alerts, clock, events, gates, machine
from .gates import Load
from .machine import Machine
from .sections import Launch
from .store import Transaction

CRITICAL, RELIEVED = "resource_critical", "resource_relieved"
SUBJECT = "resource"
QUIET_SECONDS = 3600.0
ACTIONS = {
    "cpu": "While agents are at work, one more is launched every five seconds at most.",
    "memory": "No agent is launched until there is room again.",
    "disk": "No agent is launched until there is room again; worktrees(action='cleanup', dry_run=true) shows what "
    "could go.",
    "swap": "None: launches do not depend on swap.",
}


@dataclass(frozen=True)
class Shortage:
    """What there is too little of, and what is done about it."""

    resource: str
    percent: float
    message: str
    action_taken: str


def find(seen: Machine, load: Load, limits: Launch, *, agents_at_work: int) -> list[Shortage]:
    """What holds launches by the gates, and swap from the critical level on. Pure."""
    messages = {each.reason: each.message for each in gates.refusals(load, limits, agents_at_work=agents_at_work)}
    if machine.level(seen.swap.percent) in ("critical", "severe"):
        messages["swap"] = f"{seen.swap.percent:.0f} % of swap is used"
    return [Shortage(name, seen.percents[name], said, ACTIONS[name]) for name, said in messages.items()]


def lasting(tx: Transaction) -> set[str]:
    """The resources of which there was too little when that was last recorded."""
    rows = tx.all(
        "SELECT subject_id, kind FROM event WHERE event_id IN "
        "(SELECT max(event_id) FROM event WHERE subject_type = ? GROUP BY subject_id)",
        (SUBJECT,),
    )
    return {row["subject_id"] for row in rows if row["kind"] == CRITICAL}


def begin(tx: Transaction, shortage: Shortage, *, now: str, actor: str) -> None:
    """Record that it began, and tell, unless the same was told within the last hour."""
    name = shortage.resource
    if name in lasting(tx):
        return
    told = tx.value(
        "SELECT max(at) FROM event WHERE subject_type = ? AND subject_id = ? AND kind = ? AND data ->> '$.told'",
        (SUBJECT, name, CRITICAL),
    )
    tell = told is None or clock.seconds_between(told, now) >= QUIET_SECONDS
    facts: dict[str, Any] = {"percent": round(shortage.percent, 1), "action_taken": shortage.action_taken}
    events.record(
        tx, now=now, actor=actor, subject_type=SUBJECT, subject_id=name, kind=CRITICAL, message=shortage.message,
        told=tell, **facts,
    )  # fmt: skip
    if tell:
        level = "critical" if name in ("memory", "disk") else "warning"
        title = f"The machine is short of {name}"
        alerts.alert(tx, level, title, shortage.message, now=now, code=CRITICAL, resource=name, **facts)


def end(tx: Transaction, resource: str, percent: float, *, now: str, actor: str) -> None:
    """Record that there is enough again."""
    if resource in lasting(tx):
        events.record(
            tx, now=now, actor=actor, subject_type=SUBJECT, subject_id=resource, kind=RELIEVED,
            percent=round(percent, 1),
        )  # fmt: skip
