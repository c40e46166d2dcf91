"""What waits for a person: tasks in review, questions of agents, merges to approve."""

from dataclasses import dataclass

from . import agents, merges, reports
from .store import Transaction

LONGEST = 200


@dataclass(frozen=True)
class Need:
    """``call`` is what to type at a terminal, or to look at first."""

    subject: str
    what: str
    call: str


def needs(tx: Transaction, *, auto_approve: bool, limit: int = 100) -> list[Need]:
    """What nobody but a person can move, at most ``limit`` of each sort."""
    return [*_reviews(tx, limit), *_questions(tx), *([] if auto_approve else _approvals(tx)[:limit])]


def _reviews(tx: Transaction, limit: int) -> list[Need]:
    rows = tx.all(
        "SELECT task_id, error_message FROM specs_task WHERE needs_review = 1 ORDER BY task_id LIMIT ?", (limit,)
    )
    return [
        Need(row["task_id"], f"is in review: {_first_line(row['error_message'])}", f"crewyard why {row['task_id']}")
        for row in rows
    ]


def _questions(tx: Transaction) -> list[Need]:
    waiting = [row for row in agents.live(tx) if reports.waits(tx, row["agent_id"])]
    found = []
    for row in waiting:
        said = reports.last(tx, row["agent_id"])
        word = _first_line(said.summary if said else "")
        found.append(Need(row["agent_id"], f"waits for an answer: {word}", f"crewyard logs {row['agent_id']}"))
    return found


def _approvals(tx: Transaction) -> list[Need]:
    return [
        Need(row["task_id"], "waits for the approval of its merge", f"crewyard worktrees approve {row['task_id']}")
        for row in merges.queue(tx)
        if row["approved_by"] is None
    ]


def _first_line(text: str | None) -> str:
    first = next(iter((text or "").strip().splitlines()), "no reason is recorded")
    return first if len(first) <= LONGEST else f"{first[: LONGEST - 1]}…"
