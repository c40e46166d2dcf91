"""Feedback: what those say for whom projects were made (R-262, G-13)."""

from .. import events
from ..errors import InvalidInput
from ..store import Row, Transaction
from . import projects

RATINGS = ("positive", "neutral", "negative")
LONGEST = 4_000


def give(tx: Transaction, project_id: str, rating: str, comment: str, *, now: str, actor: str) -> Row:
    """Raises ProjectNotFound, InvalidInput."""
    project = projects.get(tx, project_id)
    if rating not in RATINGS:
        raise InvalidInput(f"{rating!r} is no rating.", hint=f"Give {', '.join(RATINGS)}.", argument="rating")
    if len(comment) > LONGEST:
        raise InvalidInput(f"The comment has {len(comment)} characters; {LONGEST} is the limit.", hint="Keep it short.")
    row = tx.only(
        "INSERT INTO feedback (project_id, rating, comment, given_by, at) VALUES (?, ?, ?, ?, ?) RETURNING *",
        (project["project_id"], rating, comment.strip(), actor, now),
    )
    events.record(
        tx, now=now, actor=actor, subject_type="project", subject_id=project["project_id"], kind="feedback_given",
        rating=rating,
    )  # fmt: skip
    return row
