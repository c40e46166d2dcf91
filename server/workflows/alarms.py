"""Alarms: what administrators are warned of, with its cause, from its begin to its end (R-223, R-247).

One of a kind and subject stands at a time. The lead and the administrators are told once, when it begins.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .. import alerts, events
from ..store import Row, Transaction

TITLES = {
    "overflow": "The queue of {} overflows",
    "capacity": "{} wants more workers than it may have",
    "emergency": "{} has more workers than its maximum",
    "slow": "Work in {} takes longer than it did",
    "worker_offline": "Worker {} is offline",
    "restart_failed": "Worker {} could not be restarted",
}


@dataclass(frozen=True)
class Alarm:
    """How something stands that is worth an alarm."""

    level: str
    cause: str


def begin(
    tx: Transaction,
    kind: str,
    subject: str,
    level: str,
    cause: str,
    *,
    now: str,
    actor: str,
    told: Collection[str] = (),
    **facts: Any,
) -> Row:
    """``level`` is critical, high, warning or info; ``told`` are agent types that learn of it beside the lead.

    One that stands already is left as it is, and nobody is told again.
    """
    standing = get(tx, kind, subject)
    if standing is not None:
        return standing
    row = tx.only(
        "INSERT INTO workflow_alert (kind, subject, level, cause, facts, begun_at) VALUES (?, ?, ?, ?, ?, ?) "
        "RETURNING *",
        (kind, subject, level, cause, json.dumps(facts), now),
    )
    _record(tx, row, "begun", cause, now=now, actor=actor)
    title = TITLES.get(kind, f"{kind.replace('_', ' ').capitalize()}: {{}}").format(subject)
    said = f"{cause[:1].upper()}{cause[1:]}"
    alerts.alert(tx, level, title, said, also=told, now=now, next="analytics(action='alerts')", alert=kind, **facts)
    return row


def end(tx: Transaction, kind: str, subject: str, *, now: str, actor: str, why: str = "") -> None:
    """It is over; nothing where none stands."""
    row = get(tx, kind, subject)
    if row is not None:
        tx.run("UPDATE workflow_alert SET ended_at = ? WHERE alert_id = ?", (now, row["alert_id"]))
        _record(tx, row, "ended", why, now=now, actor=actor)


def get(tx: Transaction, kind: str, subject: str) -> Row | None:
    """The one that stands."""
    return tx.one("SELECT * FROM workflow_alert WHERE kind = ? AND subject = ? AND ended_at IS NULL", (kind, subject))


def open_ones(tx: Transaction, *kinds: str) -> list[Row]:
    """Those that stand, the oldest first; of these kinds, where any is named."""
    return tx.all(
        "SELECT * FROM workflow_alert WHERE ended_at IS NULL "
        "AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds))) ORDER BY alert_id",
        {"kinds": json.dumps(kinds)},
    )


Standing = Mapping[tuple[str, str], Alarm]


def are_as(tx: Transaction, kinds: Collection[str], standing: Standing) -> bool:
    """Whether of these kinds those stand, by kind and subject, that should."""
    return {(row["kind"], row["subject"]) for row in open_ones(tx, *kinds)} == set(standing)


def settle(
    tx: Transaction,
    kinds: Collection[str],
    standing: Standing,
    *,
    told: Collection[str] = (),
    now: str,
    actor: str,
) -> list[tuple[str, str]]:
    """Begin those of these kinds that should stand, and end the others; returns those that began."""
    present = {(row["kind"], row["subject"]) for row in open_ones(tx, *kinds)}
    for kind, subject in sorted(present - set(standing)):
        end(tx, kind, subject, now=now, actor=actor, why="its cause is gone")
    begun = sorted(set(standing) - present)
    for kind, subject in begun:
        alarm = standing[kind, subject]
        begin(tx, kind, subject, alarm.level, alarm.cause, now=now, actor=actor, told=told)
    return begun


def _record(tx: Transaction, row: Row, what: str, why: str, *, now: str, actor: str) -> None:
    events.record(
        tx, now=now, actor=actor, subject_type="alarm", subject_id=row["alert_id"], kind=f"alarm_{what}",
        alert=row["kind"], subject=row["subject"], level=row["level"], why=why,
    )  # fmt: skip
