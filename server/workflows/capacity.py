"""Keeps each workflow at the workers that it wants (R-242 to R-247, R-249): counts, has it decided, carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .. import clock, events
from ..store import Row, Transaction
from . import alarms, assignment, items, pace, peaks, scaling, triage, workers
from .alarms import Alarm
from .pipeline import Pipeline
from .scaling import Queue, Verdict

KINDS = ("overflow", "capacity", "emergency", "slow")
SCALED = "workflow_scaled"
SECONDS_OF_SPELLS = (
    "SELECT coalesce(sum((julianday(coalesce(ended_at, :now)) - julianday(max(began_at, :since))) * 86400), 0) "
    "FROM work_spell WHERE workflow = :workflow AND (ended_at IS NULL OR ended_at > :since)"
)
SECONDS_OF_WORKERS = (
    "SELECT coalesce(sum(max(0, julianday(coalesce(retired_at, offline_since, :now)) - julianday(max(since, :since))) "
    "* 86400), 0) FROM worker WHERE workflow = :workflow"
)


@dataclass(frozen=True)
class Host:
    """What bounds workers beside the ranges: why the machine takes no more agents, and how many a type may have."""

    refusals: tuple[str, ...] = ()
    instance_limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """A workflow as it was counted, and what is to be done there."""

    workflow: str
    queue: Queue
    verdict: Verdict


def look(tx: Transaction, line: Pipeline, host: Host, *, now: str) -> list[Look]:
    """Every workflow, with what is to be done."""
    found = []
    for name in line.names:
        queue = counted(tx, line, name, now=now)
        verdict = scaling.decide(queue, line.stage(name), line.settings, hindrance(tx, line, name, host))
        found.append(Look(name, queue, verdict))
    return found


def is_called_for(tx: Transaction, line: Pipeline, host: Host, *, now: str) -> bool:
    """Whether ``adjust`` would do anything."""
    looks = look(tx, line, host, now=now)
    return (
        any(each.verdict.change for each in looks)
        or bool(leavers(tx, now=now))
        or not alarms.are_as(tx, KINDS, standing(tx, line, looks))
    )


def adjust(tx: Transaction, line: Pipeline, host: Host, *, now: str, actor: str) -> None:
    """Do what is to be done: who is to leave leaves, workers come or go, alarms begin and end.

    Where a queue begins to overflow what is urgent in it goes first (R-247); where work has slowed nothing waits for
    one worker while others could have it (R-249).
    """
    for row in leavers(tx, now=now):
        workers.retire(tx, row["worker_id"], now=now, actor=actor, why="its emergency is over")
    for each in look(tx, line, host, now=now):
        change(tx, line, each.workflow, each.verdict.change, each.verdict.why, now=now, actor=actor)
    looks = look(tx, line, host, now=now)
    told = line.settings.administrators
    for kind, workflow in alarms.settle(tx, KINDS, standing(tx, line, looks), told=told, now=now, actor=actor):
        if kind == "overflow":
            triage.raise_urgent(tx, line, workflow=workflow, now=now, actor=actor)
        elif kind == "slow":
            assignment.rebalance(tx, line, workflow, now=now, actor=actor)


def change(tx: Transaction, line: Pipeline, workflow: str, by: int, why: str, *, now: str, actor: str) -> list[str]:
    """So many workers come, or go where it is below 0; returns who. The rest after it begins."""
    there = len(workers.present(tx, workflow))
    who = [row["worker_id"] for row in last_of(line, workflow, workers.idle(tx, workflow))[:-by]] if by < 0 else []
    for worker_id in who:
        workers.retire(tx, worker_id, now=now, actor=actor, why=why)
    for _ in range(by):
        row = workers.add(tx, line, workflow, origin="scaled", now=now, actor=actor, why=why)
        who.append(row["worker_id"])
    if who:
        after = there + (len(who) if by > 0 else -len(who))
        noted(tx, workflow, there, after, who, why, now=now, actor=actor)
    return who


def noted(
    tx: Transaction, workflow: str, before: int, after: int, who: list[str], why: str, *, now: str, actor: str
) -> None:
    """Record that it was scaled, which its rest is counted from."""
    events.record(
        tx, now=now, actor=actor, subject_type="workflow", subject_id=workflow, kind=SCALED, before=before,
        after=after, workers=who, why=why,
    )  # fmt: skip


def counted(tx: Transaction, line: Pipeline, workflow: str, *, now: str) -> Queue:
    there = workers.present(tx, workflow)
    mean = tx.value(
        # What came back, from a silent worker or a review, has had its wait.
        "SELECT avg(julianday(?) - julianday(queued_at)) * 86400 FROM queue_item WHERE workflow = ? "
        "AND status = 'waiting' AND started_at IS NULL",
        (now, workflow),
    )
    return Queue(
        waiting=items.depth(tx, workflow),
        average_wait=max(0.0, mean or 0.0),
        workers=len(there),
        idle=sum(row["status"] == "idle" for row in there),
        utilisation=utilisation(tx, workflow, line.settings.window_minutes * scaling.MINUTE, now=now),
        rested=rested(tx, workflow, now=now),
        turns=turns(tx, workflow, now=now),
        extra=sum(row["until"] is not None for row in there),
        offline=sum(row["status"] == "offline" for row in there),
        is_peak=is_peak(tx, line, workflow, now=now),
        slow=slowed(tx, workflow),
    )


def utilisation(tx: Transaction, workflow: str, seconds: float, *, now: str) -> float | None:
    """Percent of its workers' time within the last ``seconds`` that they were busy; None where none was there (G-12).

    The time of one that is offline is no time of work.
    """
    given = {"workflow": workflow, "now": now, "since": clock.plus(now, -seconds)}
    there = tx.value(SECONDS_OF_WORKERS, given)
    return min(100.0, 100.0 * tx.value(SECONDS_OF_SPELLS, given) / there) if there > 0 else None


def rested(tx: Transaction, workflow: str, *, now: str) -> float:
    """Seconds since the workflow was scaled last. A clock that was set back is no reason to rest."""
    rows = _scaled(tx, workflow, now)
    seconds = clock.seconds_between(rows[-1]["at"], now) if rows else float("inf")
    return seconds if seconds >= 0 else float("inf")


def turns(tx: Transaction, workflow: str, *, now: str) -> int:
    """How often within a day it grew after it had shrunk."""
    return scaling.turns([row["after"] - row["before"] for row in _scaled(tx, workflow, now)])


def _scaled(tx: Transaction, workflow: str, now: str) -> list[Row]:
    """When it was scaled within a day, the oldest first."""
    return tx.all(
        "SELECT at, data ->> '$.before' AS before, data ->> '$.after' AS after FROM event "
        "WHERE subject_type = 'workflow' AND subject_id = ? AND kind = ? AND at > ? ORDER BY event_id",
        (workflow, SCALED, clock.plus(now, -scaling.DAY)),
    )


def is_peak(tx: Transaction, line: Pipeline, workflow: str, *, now: str) -> bool:
    """Whether a peak hour is here or near, by what was configured and by the arrivals of the last week."""
    since = clock.plus(now, -scaling.DAY * peaks.LEARNED_DAYS)
    total = tx.value("SELECT count(*) FROM queue_item WHERE workflow = ? AND queued_at > ?", (workflow, since))
    for moment in (now, clock.plus(now, peaks.AHEAD_SECONDS)):
        arrivals = [
            _arrivals(tx, workflow, clock.plus(moment, -scaling.DAY * day)) for day in range(peaks.LEARNED_DAYS)
        ]
        if int(moment[11:13]) in line.settings.peak_hours or peaks.is_learned(arrivals, total):
            return True
    return False


def _arrivals(tx: Transaction, workflow: str, moment: str) -> int:
    """How many came in the hour that the moment lies in."""
    hour = moment[:13]
    sql = "SELECT count(*) FROM queue_item WHERE workflow = ? AND queued_at >= ? AND queued_at < ?"
    return int(tx.value(sql, (workflow, hour, f"{hour}~")))


def slowed(tx: Transaction, workflow: str) -> str:
    """How much longer its work takes than it did, where it does."""
    rows = tx.all(
        "SELECT (julianday(ended_at) - julianday(began_at)) * 86400 AS seconds FROM work_spell WHERE workflow = ? "
        "AND outcome = 'done' ORDER BY ended_at DESC LIMIT ?",
        (workflow, pace.RECENT + pace.BEFORE),
    )
    was_slow = alarms.get(tx, "slow", workflow) is not None
    return pace.slowed([row["seconds"] for row in rows], was_slow=was_slow)


def hindrance(tx: Transaction, line: Pipeline, workflow: str, host: Host) -> str:
    """Why another worker would get no agent; empty where it would."""
    if host.refusals:
        return host.refusals[0]
    coming = workers.next_of(tx, line, workflow)
    if coming is None:
        return "all of its roster are there, or at work in another workflow"
    agent_type = line.agent_of(workflow, coming)
    limit = host.instance_limits.get(agent_type)
    have = sum(row["agent_type"] == agent_type for row in workers.present(tx))
    if limit is None or have < limit:
        return ""
    return f"{limit} of {agent_type} is all there may be, and there are {have} workers of that type"


def leavers(tx: Transaction, *, now: str) -> list[Row]:
    """Idle ones whose emergency is over."""
    return [
        row
        for row in workers.present(tx)
        if row["status"] == "idle" and row["until"] is not None and row["until"] <= now
    ]


def last_of(line: Pipeline, workflow: str, rows: list[Row]) -> list[Row]:
    """The workers in the order in which they go: those of an emergency first, the first of the roster last."""
    places = {each.name: place for place, each in enumerate(line.roster(workflow))}
    return sorted(
        rows, key=lambda row: (row["origin"] == "emergency", places.get(row["worker_id"], len(places))), reverse=True
    )


def standing(tx: Transaction, line: Pipeline, looks: list[Look]) -> dict[tuple[str, str], Alarm]:
    """The alarms that should stand."""
    found = {}
    for each in looks:
        name, queue, verdict = each.workflow, each.queue, each.verdict
        if _overflows(tx, line, each):
            cause = f"{queue.waiting} wait in {name}, more than {line.settings.overflow_depth} (overflow_depth)"
            found["overflow", name] = Alarm("critical", cause)
        if verdict.refused or (_is_short(line, each) and alarms.get(tx, "capacity", name) is not None):
            cause = f"{verdict.why}; it has {queue.workers} workers and gets no more: {verdict.refused}"
            found["capacity", name] = Alarm("high", cause)
        if queue.extra:
            maximum = line.stage(name).max_workers
            cause = f"{queue.extra} of {queue.workers} workers are there for an emergency; max_workers is {maximum}"
            found["emergency", name] = Alarm("high", cause)
        if queue.slow:
            found["slow", name] = Alarm("warning", f"in {name} {queue.slow}")
    return found


def _is_short(line: Pipeline, each: Look) -> bool:
    """Whether a queue that wanted to grow in vain is still to be told of: else it would be with each item that goes."""
    is_full = each.queue.workers >= line.stage(each.workflow).max_workers
    return each.verdict.rests or (is_full and not scaling.is_eased(each.queue, line.settings))


def _overflows(tx: Transaction, line: Pipeline, each: Look) -> bool:
    """Once it does, it does so until no more wait than call for another worker."""
    stands = alarms.get(tx, "overflow", each.workflow) is not None
    rules = line.settings
    return each.queue.waiting > (min(rules.scale_up_depth, rules.overflow_depth) if stands else rules.overflow_depth)
