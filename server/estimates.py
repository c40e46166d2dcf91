"""How long tasks will take: the hours given, corrected by how long others like them took.

Like each other are, first, tasks whose titles differ in their numbers only, planned for the same agent with the same
hours; then all for the same agent; then all. Where no hours are given every task has the same, and this alone tells
them apart.
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .store import Transaction

LATEST = 2_000
MS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class Work:
    """What is known of a task beforehand; ``hours`` as its plan gives them."""

    title: str
    agent_type: str | None
    hours: float


def corrected(wanted: Sequence[Work], done: Iterable[tuple[Work, float]]) -> list[float]:
    """The hours that each will take, of what is ``done`` with the hours that it took."""
    given: dict[Hashable, float] = defaultdict(float)
    taken: dict[Hashable, float] = defaultdict(float)
    for work, took in done:
        for group in _groups(work):
            given[group] += work.hours
            taken[group] += took
    share = {group: taken[group] / given[group] for group in given}
    return [work.hours * next((share[group] for group in _groups(work) if group in share), 1.0) for work in wanted]


def _groups(work: Work) -> Iterator[Hashable]:
    """What it is like, the likest first."""
    yield re.sub(r"\d+", "#", work.title), work.agent_type, work.hours
    yield work.agent_type
    yield ()


# --------------------------------------------------------------------------------------------- units of work


def history(tx: Transaction) -> list[tuple[Work, float]]:
    """The latest work of agents that came to its end, and the hours that it took."""
    rows = tx.all(
        "SELECT t.title, t.agent_type, t.estimated_hours, a.duration_ms FROM "
        "(SELECT task_id, duration_ms FROM agent_lifecycle WHERE status = 'completed' AND duration_ms IS NOT NULL "
        "ORDER BY rowid DESC LIMIT ?) a JOIN specs_task t USING (task_id) WHERE t.status = 'completed'",
        (LATEST,),
    )
    return [(Work(row[0], row[1], row[2]), row[3] / MS_PER_HOUR) for row in rows]
