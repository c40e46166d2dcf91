"""What was recorded of a range of time, read in one transaction (R-157)."""

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from . import clock, lease, trends
from .facts import METRICS, Activity, Agent, Failure, Hold, Measure, Merge, Restart, Task
from .phases import DUE, KINDS, Span, Step, Window, clipped, in_hand, spans, unsupervised
from .store import Row, Transaction

HOURS = {"last_1h": 1.0, "last_24h": 24.0, "last_7d": 168.0}
RANGES = (*HOURS, "all")
ADDED = "task_added"
_OPEN = "('pending', 'ready', 'assigned', 'in_progress')"
# A task that ended is in the range only if it ended there; what it did before belongs to it, and is clipped later.
_SCOPE = f"(t.status IN {_OPEN} OR t.updated_at >= :since)"
_STEPS = f"""
SELECT t.task_id, e.event_id, e.at, e.kind, coalesce(e.from_state, e.to_state) AS first, '' AS agent_id, 0 AS awaits
FROM specs_task t JOIN event e ON e.subject_type = 'task' AND e.subject_id = t.task_id WHERE {_SCOPE}
UNION ALL
SELECT t.task_id, e.event_id, e.at, e.kind, '', '', 0
FROM specs_task t JOIN orchestrator_task o USING (task_id)
JOIN event e ON e.subject_type = 'assignment' AND e.subject_id = o.orchestrator_task_id WHERE {_SCOPE}
UNION ALL
SELECT t.task_id, e.event_id, e.at, e.kind, '', a.agent_id, 0
FROM specs_task t JOIN agent_lifecycle a USING (task_id)
JOIN event e ON e.subject_type = 'agent' AND e.subject_id = a.agent_id WHERE {_SCOPE}
UNION ALL
SELECT t.task_id, e.event_id, e.at, e.kind, '', '',
       coalesce(m.approved_at > e.at, :approvals AND m.status = 'queued')
FROM specs_task t JOIN merge_request m USING (task_id)
JOIN event e ON e.subject_type = 'merge' AND e.subject_id = CAST(m.merge_id AS TEXT) WHERE {_SCOPE}
ORDER BY event_id
"""


def of_range(tx: Transaction, name: str, *, approvals: bool, now: str) -> Activity:
    """Everything that ``name`` (one of RANGES) covers until now. With ``approvals`` merges wait for a person."""
    since = clock.plus(now, -3600 * HOURS[name]) if name in HOURS else _beginning(tx, now)
    bounds = {"since": since, "until": now}
    return Activity(
        since=_ms(since),
        until=_ms(now),
        tasks=_tasks(tx, since, now, approvals),
        agents=_agents(tx, bounds),
        merges=_merges(tx, bounds),
        restarts=_restarts(tx, bounds),
        failures=_failures(tx, bounds),
        holds=_holds(tx, bounds),
        stalled=_count_stalled(tx, bounds),
        measures=_measures(tx, bounds),
        blockers=_blockers(tx, since),
    )


def _beginning(tx: Transaction, now: str) -> str:
    first: str | None = tx.value("SELECT at FROM event ORDER BY event_id LIMIT 1")
    return first or now


def _tasks(tx: Transaction, since: str, until: str, approvals: bool) -> tuple[Task, ...]:
    rows = tx.all(
        "SELECT task_id, title, status, needs_review, created_at FROM specs_task t "
        f"WHERE {_SCOPE} ORDER BY position, task_id",
        {"since": since},
    )
    histories, dues = _histories(tx, since, approvals), _due_times(tx, since)
    dispatches = _dispatches_of(tx)
    windows, idle = _windows(tx, until), gaps(tx, until)
    slots = {row[0]: row[1] for row in tx.all("SELECT dispatch_id, max_parallel FROM dispatch")}
    found = []
    for row in rows:
        history = histories[row["task_id"]]
        ended = next((_ms(e["at"]) for e in reversed(history) if e["kind"] == f"task_{row['status']}"), None)
        is_open = row["status"] in _OPEN
        if not is_open and (ended is None or ended < _ms(since)):
            continue
        of_it = dispatches[row["task_id"]]
        own = [window for name in of_it for window in windows.get(name, ())]
        parts = unsupervised(in_hand(_spans(row, history, dues[row["task_id"]], until), own), idle)
        found.append(
            Task(
                row["task_id"], row["title"], row["status"], bool(row["needs_review"]), None if is_open else ended,
                tuple(clipped(parts, _ms(since), _ms(until))), frozenset(of_it),
                max((slots[name] for name in of_it), default=None),
            )
        )  # fmt: skip
    return tuple(found)


def _histories(tx: Transaction, since: str, approvals: bool) -> dict[str, list[Row]]:
    """The events of each task in the order in which they were recorded."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in tx.all(_STEPS, {"since": since, "approvals": approvals}):
        if row["kind"] in KINDS or row["kind"] == ADDED:
            found[row["task_id"]].append(row)
    return found


def _due_times(tx: Transaction, since: str) -> dict[str, list[Step]]:
    """When each task's restarts were due; one that was due before it was put down is due then."""
    found: dict[str, list[Step]] = defaultdict(list)
    for task_id, due in tx.all(
        "SELECT r.task_id, max(r.due_at, r.timestamp) FROM agent_restart_log r "
        f"JOIN specs_task t USING (task_id) WHERE {_SCOPE}",
        {"since": since},
    ):
        found[task_id].append(Step(_ms(due), DUE))
    return found


def _spans(task: Row, history: Sequence[Row], dues: Sequence[Step], until: str) -> list[Span]:
    first = next((e["first"] for e in history if e["first"]), task["status"])
    steps = [Step(_ms(e["at"]), e["kind"], e["agent_id"], bool(e["awaits"])) for e in history if e["kind"] != ADDED]
    phase = "slot" if first == "ready" else "dependencies"
    return spans(phase, _ms(task["created_at"]), [*steps, *dues], _ms(until))


def _dispatches_of(tx: Transaction) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for task_id, dispatch_id in tx.all(
        "SELECT task_id, dispatch_id FROM dispatch_task UNION "
        "SELECT task_id, dispatch_id FROM orchestrator_task WHERE dispatch_id IS NOT NULL"
    ):
        found[task_id].add(dispatch_id)
    return found


def _windows(tx: Transaction, until: str) -> dict[str, list[Window]]:
    """When each dispatch was active, and when paused."""
    changes: dict[str, list[Row]] = defaultdict(list)
    for row in tx.all("SELECT subject_id, at, to_state FROM event WHERE subject_type = 'dispatch' ORDER BY event_id"):
        if row["to_state"]:
            changes[row["subject_id"]].append(row)
    found: dict[str, list[Window]] = {}
    for name, rows in changes.items():
        ends = [*(_ms(row["at"]) for row in rows[1:]), _ms(until)]
        found[name] = [
            Window(_ms(row["at"]), end, row["to_state"] == "paused")
            for row, end in zip(rows, ends, strict=True)
            if row["to_state"] in ("active", "paused")
        ]
    return found


def gaps(tx: Transaction, until: str) -> list[tuple[int, int]]:
    """When nobody supervised, in order and apart; to within the seconds between two renewals of a lease."""
    gaps = tx.all(
        "SELECT data ->> '$.idle_since', at FROM event WHERE subject_type = 'lease' AND kind = 'lease_acquired' "
        "AND data ->> '$.idle_since' < at"
    )
    found = [(_ms(begin), _ms(end)) for begin, end in gaps]
    held = lease.current(tx)
    if held is not None and held["until"] <= until:
        found.append((_ms(lease.last_sign(held)), _ms(until)))
    apart, reached = [], 0
    for begin, end in sorted(found):
        if end > max(begin, reached):
            apart.append((max(begin, reached), end))
            reached = end
    return apart


def _agents(tx: Transaction, bounds: dict[str, str]) -> tuple[Agent, ...]:
    rows = tx.all(
        "SELECT * FROM agent_lifecycle WHERE runner_pid IS NOT NULL AND created_at <= :until "
        "AND (completed_at IS NULL OR completed_at >= :since) ORDER BY created_at, agent_id",
        bounds,
    )
    return tuple(
        Agent(
            row["agent_id"], row["agent_type"], row["kind"], row["task_id"] or "", row["attempt"], row["status"],
            _ms(row["started_at"] or row["created_at"]), _ms(row["completed_at"]) if row["completed_at"] else None,
            row["status"] in ("failed", "timeout", "lost") or (row["status"] == "killed" and bool(row["kill_code"])),
            row["error_message"] or "", row["input_tokens"], row["output_tokens"], row["cost_usd"],
        )
        for row in rows
    )  # fmt: skip


def _merges(tx: Transaction, bounds: dict[str, str]) -> tuple[Merge, ...]:
    rows = tx.all(
        "SELECT * FROM merge_request WHERE ended_at BETWEEN :since AND :until ORDER BY ended_at, merge_id", bounds
    )
    return tuple(
        Merge(
            row["task_id"], row["status"], _ms(row["ended_at"]), row["error_code"] or "", row["error_message"] or "",
            bool(row["flaky"]), row["files_changed"] or 0, row["insertions"] or 0, row["deletions"] or 0,
        )
        for row in rows
    )  # fmt: skip


def _restarts(tx: Transaction, bounds: dict[str, str]) -> tuple[Restart, ...]:
    rows = tx.all(
        "SELECT task_id, reason, timestamp FROM agent_restart_log WHERE timestamp BETWEEN :since AND :until "
        "ORDER BY restart_id",
        bounds,
    )
    return tuple(Restart(row["task_id"] or "", row["reason"], _ms(row["timestamp"])) for row in rows)


def _failures(tx: Transaction, bounds: dict[str, str]) -> tuple[Failure, ...]:
    rows = tx.all(
        "SELECT error_id, timestamp, error_class, severity, status, coalesce(task_id, subject, '') AS task_id, "
        "coalesce(agent_id, '') AS agent_id, message FROM error_events WHERE timestamp BETWEEN :since AND :until "
        "ORDER BY timestamp, rowid",
        bounds,
    )
    return tuple(Failure(row["error_id"], _ms(row["timestamp"]), *tuple(row)[2:]) for row in rows)


def _holds(tx: Transaction, bounds: dict[str, str]) -> tuple[Hold, ...]:
    rows = tx.all(
        "SELECT at, subject_id, data FROM event WHERE subject_type = 'launches' AND kind = 'launches_held' "
        "AND at BETWEEN :since AND :until ORDER BY event_id",
        bounds,
    )
    told = [(row, json.loads(row["data"])) for row in rows]
    return tuple(Hold(_ms(row["at"]), row["subject_id"], data["reason"], data["message"]) for row, data in told)


def _count_stalled(tx: Transaction, bounds: dict[str, str]) -> int:
    sql = (
        "SELECT count(*) FROM event WHERE subject_type = 'agent' AND kind = 'agent_stalled' "
        "AND at BETWEEN :since AND :until"
    )
    return int(tx.value(sql, bounds))


def _measures(tx: Transaction, bounds: dict[str, str]) -> dict[str, Measure]:
    """Means over time: a sample stands for the time until the next one of its kind, or for its own span."""
    rows = tx.all(
        "SELECT metric_type, value, span_seconds, coalesce(maximum, value) AS highest, timestamp FROM metrics.metrics "
        "WHERE agent_id IS NULL AND metric_type IN (SELECT value FROM json_each(:types)) "
        "AND timestamp BETWEEN :since AND :until ORDER BY timestamp",
        {**bounds, "types": json.dumps(METRICS)},
    )
    by_type: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_type[row["metric_type"]].append(row)
    return {name: _measure(name, found) for name, found in by_type.items()}


def _measure(name: str, rows: Sequence[Row]) -> Measure:
    ats = [_ms(row["timestamp"]) for row in rows]
    gaps = sorted(later - at for at, later in pairwise(ats))
    usual = gaps[len(gaps) // 2] / 1000 if gaps else 1.0
    weights = [row["span_seconds"] or max(usual, 0.001) for row in rows]
    mean = sum(row["value"] * weight for row, weight in zip(rows, weights, strict=True)) / sum(weights)
    values = [row["value"] for row in rows]
    grown = trends.trend(values, trends.band_of(name))
    return Measure(len(rows), mean, max(row["highest"] for row in rows), values[0], values[-1], grown)


def _blockers(tx: Transaction, since: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for dependent, blocking in tx.all(
        "SELECT d.dependent_task_id, d.blocking_task_id FROM specs_task_dependency d "
        f"JOIN specs_task t ON t.task_id = d.dependent_task_id WHERE d.dependency_type = 'hard' AND {_SCOPE} "
        "ORDER BY d.dependency_id",
        {"since": since},
    ):
        found[dependent].append(blocking)
    return {task_id: tuple(names) for task_id, names in found.items()}


def _ms(text: str) -> int:
    return round(clock.parse(text).timestamp() * 1000)
