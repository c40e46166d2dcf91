"""Questions to the event table: which events, from when, of what (R-019, R-305)."""

import json
import re
from dataclasses import dataclass
from typing import Any

from . import clock
from .errors import InvalidInput
from .store import Row, Transaction

PAGE = 500
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# An event of an agent, a merge or a message names its task in its data, and so answers a question about the task.
_ASKED = (
    "(:subject IS NULL OR subject_id = :subject OR data ->> 'task_id' = :subject) "
    "AND (:kind IS NULL OR kind GLOB :kind) AND (:since IS NULL OR at >= :since)"
)


@dataclass(frozen=True)
class Question:
    """Which events are meant: of a ``subject`` (or of its task), of a ``kind`` (``agent_*`` too), ``since`` a time."""

    subject: str | None = None
    kind: str | None = None
    since: str | None = None


def after(tx: Transaction, question: Question, event_id: int, limit: int = PAGE) -> tuple[list[Row], int]:
    """Events younger than ``event_id``, oldest first, and where the next page begins.

    No event is missed: ids are given within the transaction that commits them, and there is one writer at a time, so
    that who has seen an id has seen every lower one.
    """
    rows = tx.all(
        f"SELECT * FROM event WHERE event_id > :after AND {_ASKED} ORDER BY event_id LIMIT :limit",
        {**vars(question), "after": event_id, "limit": limit},
    )
    if len(rows) == limit:
        return rows, rows[-1]["event_id"]
    return rows, max(event_id, int(tx.value("SELECT coalesce(max(event_id), 0) FROM event")))


def before_newest(tx: Transaction, question: Question, limit: int) -> int:
    """The id behind which the newest ``limit`` of these events lie."""
    first = tx.value(
        f"SELECT min(event_id) FROM (SELECT event_id FROM event WHERE {_ASKED} ORDER BY event_id DESC LIMIT :limit)",
        {**vars(question), "limit": limit},
    )
    return 0 if first is None else int(first) - 1


def as_dict(row: Row) -> dict[str, Any]:
    """The event as one object; its keys are the table's columns."""
    return {**dict(row), "data": json.loads(row["data"])}


def moment(text: str, now: str) -> str:
    """A time as people give it: ISO-8601, or how long ago (``90s``, ``10m``, ``2h``, ``1d``). Raises InvalidInput."""
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if ago is not None:
        return clock.plus(now, -int(ago[1]) * SECONDS[ago[2]])
    try:
        return clock.to_text(clock.parse(text))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{text!r} is no time.", hint="Give 10m, 2h, 1d or a time such as 2026-01-31T12:00:00Z."
        ) from error
