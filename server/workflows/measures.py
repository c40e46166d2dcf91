"""What was recorded of the workflows in a range of time: what metrics and bottlenecks are told from (L-30)."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import activity, clock
from ..store import Row, Transaction
from ..workflow_sections import Stage
from . import items
from .pipeline import Pipeline

Span = tuple[float, float]
COVERAGE = "test_coverage"
FAILED = ("review", "failed_over")


@dataclass(frozen=True)
class Figures:
    """One workflow. Counts with ``now`` in their words are of this moment, all else is of the range; times are seconds.

    ``waits`` are of items that a worker got in the range, ``took`` is how long workers had those that were finished,
    ``counted`` how many features, pieces or items that makes. ``active`` is how long anything waited or was at work.
    """

    workflow: str
    stage: Stage
    waiting_now: int = 0
    working_now: int = 0
    review_now: int = 0
    held_now: int = 0
    unstarted_now: int = 0  # a worker has it, and its agent does not run yet
    named_now: int = 0  # waits for a worker by name who is busy, while others are idle
    oldest_wait_now: float = 0.0
    workers_now: Counter[str] = field(default_factory=Counter)
    arrived: int = 0
    finished: int = 0
    counted: float = 0.0
    waits: Sequence[float] = ()
    took: Sequence[float] = ()
    outcomes: Counter[str] = field(default_factory=Counter)
    reworked: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    busy: float = 0.0
    present: float = 0.0
    active: float = 0.0
    coverage: Sequence[float] = ()
    deployed: int = 0
    deployed_at_once: int = 0

    @property
    def utilisation(self) -> float | None:
        """Percent of the time of its workers in which they had something (G-12)."""
        return 100 * self.busy / self.present if self.present else None


@dataclass(frozen=True)
class Measures:
    """All of it. ``ends`` are seconds from end to end of the projects that were completed in the range."""

    since: str
    until: str
    workflows: tuple[Figures, ...]
    ends: Sequence[float]
    undeployed: int
    ratings: Counter[str]
    supervised: float
    observed: float
    is_simulated: bool

    @property
    def seconds(self) -> float:
        return clock.seconds_between(self.since, self.until)


def of_range(tx: Transaction, line: Pipeline, since: str, now: str) -> Measures:
    supervised, observed = _supervision(tx, since, now)
    stints = _stints(tx, since, now)
    bounds = {"since": since, "now": now}
    return Measures(
        since, now,
        tuple(_figures(tx, name, line.stage(name), stints.get(name, 0.0), bounds) for name in line.names),
        sorted(_lengths(tx.all("SELECT created_at AS began, completed_at AS ended FROM project WHERE "
                               "status = 'completed' AND completed_at BETWEEN :since AND :now", bounds))),
        undeployed=len(undeployed(tx)),
        ratings=_counted(
            tx, "SELECT rating, count(*) FROM feedback WHERE at BETWEEN :since AND :now GROUP BY 1", bounds
        ),
        supervised=supervised,
        observed=observed,
        is_simulated=_is_simulated(tx, bounds),
    )  # fmt: skip


def undeployed(tx: Transaction) -> list[Row]:
    """Projects in no queue, since nothing was deployed that the next stage could begin with."""
    return tx.all(
        "SELECT * FROM project p WHERE status = 'active' AND NOT EXISTS (SELECT 1 FROM queue_item i "
        f"WHERE i.project_id = p.project_id AND i.status IN {items.OPEN}) ORDER BY rowid"
    )


def _figures(tx: Transaction, name: str, stage: Stage, present: float, bounds: dict[str, Any]) -> Figures:
    at = bounds | {"workflow": name}
    now = _counted(tx, "SELECT status, count(*) FROM queue_item WHERE workflow = :workflow "
                   f"AND status IN {items.OPEN} GROUP BY 1", at)  # fmt: skip
    oldest = tx.value("SELECT min(queued_at) FROM queue_item WHERE workflow = :workflow AND status = 'waiting'", at)
    done = tx.all(
        "SELECT i.*, p.deployment_url, (SELECT sum(julianday(s.ended_at) - julianday(s.began_at)) * 86400 "
        "FROM work_spell s WHERE s.item_id = i.item_id) AS at_work FROM queue_item i JOIN project p USING (project_id) "
        "WHERE i.workflow = :workflow AND i.ended_at BETWEEN :since AND :now AND i.status = 'done'",
        at,
    )
    spans = _spells(tx, at)
    outputs = [json.loads(row["output"]) for row in done if row["output"]]
    deployed = [row for row in done if stage.hands_over == "deployed" and row["deployment_url"]]
    return Figures(
        name, stage,
        waiting_now=now["waiting"], working_now=now["working"], review_now=now["review"], held_now=now["held"],
        unstarted_now=_unstarted(tx, at), named_now=_named(tx, at),
        oldest_wait_now=0.0 if oldest is None else clock.seconds_between(oldest, at["now"]),
        workers_now=_counted(tx, "SELECT status, count(*) FROM worker WHERE workflow = :workflow GROUP BY 1", at),
        arrived=tx.value("SELECT count(*) FROM queue_item WHERE workflow = :workflow "
                         "AND queued_at BETWEEN :since AND :now", at),
        finished=len(done),
        counted=len(done) if not stage.counts else sum(_number(output.get(stage.counts)) for output in outputs),
        waits=sorted(_lengths(tx.all(
            "SELECT queued_at AS began, started_at AS ended FROM queue_item WHERE workflow = :workflow "
            "AND started_at BETWEEN :since AND :now", at))),
        took=sorted(row["at_work"] for row in done if row["at_work"] is not None),
        outcomes=_counted(tx, "SELECT outcome, count(*) FROM work_spell WHERE workflow = :workflow "
                          "AND ended_at BETWEEN :since AND :now GROUP BY 1", at),
        reworked=sum(row["rework_count"] > 0 for row in done),
        errors=_counted(tx, "SELECT error_code, count(*) FROM queue_item WHERE workflow = :workflow "
                        "AND status = 'review' GROUP BY 1", at),
        busy=sum(end - begin for begin, end in spans),
        present=present,
        active=length_of([*spans, *_queued(tx, at)]),
        coverage=[_number(output[COVERAGE]) for output in outputs if _is_number(output.get(COVERAGE))],
        deployed=len(deployed),
        deployed_at_once=sum(row["rework_count"] == 0 for row in deployed),
    )  # fmt: skip


def length_of(spans: Sequence[Span]) -> float:
    """How long at least one of them lasted."""
    total, reached = 0.0, 0.0
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _spells(tx: Transaction, at: dict[str, Any]) -> list[Span]:
    """When workers had something, within the range."""
    rows = tx.all(
        "SELECT began_at AS began, ended_at AS ended FROM work_spell WHERE workflow = :workflow AND began_at <= :now "
        "AND coalesce(ended_at, :now) >= :since",
        at,
    )
    return [_clipped(row["began"], row["ended"], at) for row in rows]


def _queued(tx: Transaction, at: dict[str, Any]) -> list[Span]:
    """When items waited for their first worker, within the range."""
    rows = tx.all(
        "SELECT queued_at AS began, coalesce(started_at, ended_at) AS ended FROM queue_item "
        "WHERE workflow = :workflow AND queued_at <= :now AND coalesce(started_at, ended_at, :now) >= :since "
        "AND (status = 'waiting' OR started_at IS NOT NULL)",
        at,
    )
    return [_clipped(row["began"], row["ended"], at) for row in rows]


def _unstarted(tx: Transaction, at: dict[str, Any]) -> int:
    return int(
        tx.value(
            "SELECT count(*) FROM queue_item i JOIN specs_task t USING (task_id) WHERE i.workflow = :workflow "
            "AND i.status = 'working' AND t.status = 'assigned'",
            at,
        )
    )


def _named(tx: Transaction, at: dict[str, Any]) -> int:
    return int(
        tx.value(
            "SELECT count(*) FROM queue_item i JOIN worker w ON w.worker_id = i.wanted_worker "
            "WHERE i.workflow = :workflow AND i.status = 'waiting' AND w.status <> 'idle' AND EXISTS "
            "(SELECT 1 FROM worker o WHERE o.workflow = i.workflow AND o.status = 'idle')",
            at,
        )
    )


def _stints(tx: Transaction, since: str, now: str) -> dict[str, float]:
    """By workflow, the seconds in which its workers were there, whatever they did."""
    rows = tx.all(
        "SELECT subject_id, at, to_state, data ->> '$.workflow' AS workflow FROM event WHERE subject_type = 'worker' "
        "AND (to_state = 'retired' OR (to_state = 'idle' AND (from_state IS NULL OR from_state = 'retired'))) "
        "ORDER BY event_id"
    )
    there: dict[str, Row] = {}
    found: dict[str, float] = {}
    for row in rows:
        if row["to_state"] == "idle":
            there[row["subject_id"]] = row
        elif began := there.pop(row["subject_id"], None):
            _add(found, began, row["at"], since, now)
    for began in there.values():
        _add(found, began, now, since, now)
    return found


def _add(found: dict[str, float], began: Row, ended: str, since: str, now: str) -> None:
    length = clock.seconds_between(max(began["at"], since), min(ended, now))
    found[began["workflow"]] = found.get(began["workflow"], 0.0) + max(0.0, length)


def _supervision(tx: Transaction, since: str, now: str) -> tuple[float, float]:
    """Seconds in which a supervisor acted, and those since the first one did, within the range (G-14)."""
    first = tx.value("SELECT min(at) FROM event WHERE subject_type = 'lease' AND kind = 'lease_acquired'")
    if first is None or first >= now:
        return 0.0, 0.0
    begin, end = (clock.parse(at).timestamp() for at in (max(first, since), now))
    lost = sum(max(0.0, min(b / 1000, end) - max(a / 1000, begin)) for a, b in activity.gaps(tx, now))
    return end - begin - lost, end - begin


def _is_simulated(tx: Transaction, bounds: dict[str, Any]) -> bool:
    """Whether all agents at work in the range were of the built-in kind that plays a script (G-22)."""
    kinds = tx.all("SELECT DISTINCT kind FROM agent_lifecycle WHERE coalesce(completed_at, :now) >= :since", bounds)
    return [row["kind"] for row in kinds] == ["scripted"]


def _clipped(began: str, ended: str | None, at: dict[str, Any]) -> Span:
    begin, end = max(began, at["since"]), min(ended or at["now"], at["now"])
    return clock.parse(begin).timestamp(), clock.parse(max(begin, end)).timestamp()


def _lengths(rows: Sequence[Row]) -> list[float]:
    return [clock.seconds_between(row["began"], row["ended"]) for row in rows]


def _counted(tx: Transaction, sql: str, bounds: dict[str, Any]) -> Counter[str]:
    return Counter({row[0]: row[1] for row in tx.all(sql, bounds) if row[0] is not None})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """A number, or how many there are of something."""
    return float(len(value)) if isinstance(value, list) else float(value) if _is_number(value) else 0.0
