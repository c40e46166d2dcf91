"""A worker whose agent falls silent: offline, its work given to another, a restart tried (R-240, R-248).

Each step is decided from rows, so that a server that is killed between two of them is followed by the next one.
"""

from dataclasses import dataclass

from .. import agents, assignments, clock, holds, reports
from ..store import Row, Transaction
from . import alarms, items, workers
from .alarms import Alarm
from .pipeline import Pipeline

KINDS = ("worker_offline", "restart_failed")
LONGEST_PAUSE = 3600.0
SLACK_SECONDS = 30.0  # beyond its grace, before an agent that does not end counts as one that cannot be restarted
MOST = 3  # so many workers fall silent over an item before it is the item's fault
IN_A_ROW = (
    "SELECT count(*) FROM work_spell WHERE worker_id = :worker AND outcome = 'failed_over' AND spell_id > "
    "coalesce((SELECT max(spell_id) FROM work_spell WHERE worker_id = :worker AND outcome <> 'failed_over'), 0)"
)


@dataclass(frozen=True)
class Patient:
    """A worker that is offline. ``trouble`` is why a restart fails now, ``is_due`` that one is to be tried."""

    row: Row
    trouble: str
    is_due: bool


def silent(tx: Transaction, line: Pipeline, *, now: str) -> list[Row]:
    """Busy workers whose agent gave no sign of life for too long, unless it waits for a person's answer."""
    rows = tx.all(
        "SELECT w.worker_id, w.workflow, i.item_id, i.project_id, a.agent_id, "
        "coalesce(a.last_heartbeat, a.created_at) AS heard_at FROM worker w "
        "JOIN queue_item i ON i.worker_id = w.worker_id AND i.status = 'working' "
        "JOIN agent_lifecycle a ON a.task_id = i.task_id AND a.status IN ('starting', 'running') "
        "WHERE w.status = 'busy' AND coalesce(a.last_heartbeat, a.created_at) <= ? ORDER BY w.worker_id",
        (clock.plus(now, -60.0 * line.settings.heartbeat_minutes),),
    )
    return [row for row in rows if not reports.waits(tx, row["agent_id"])]


def is_called_for(tx: Transaction, line: Pipeline, *, now: str) -> bool:
    """Whether ``attend`` would do anything."""
    if silent(tx, line, now=now) or left_behind(tx):
        return True
    found = patients(tx, line, now=now)
    return any(each.is_due for each in found) or not alarms.are_as(tx, KINDS, standing(tx, found))


def attend(tx: Transaction, line: Pipeline, *, grace_seconds: float, now: str, actor: str) -> None:
    """Do the next step for every worker that needs one."""
    for row in silent(tx, line, now=now):
        _take_offline(tx, line, row, grace_seconds=grace_seconds, now=now, actor=actor)
    for assignment_id in left_behind(tx):
        assignments.release(tx, assignment_id, why="its worker is offline", now=now, actor=actor)
    for each in patients(tx, line, now=now):
        if each.is_due:
            workers.online(tx, each.row["worker_id"], now=now, actor=actor, why="restarted")
    found = standing(tx, patients(tx, line, now=now))
    alarms.settle(tx, KINDS, found, told=line.settings.administrators, now=now, actor=actor)


def _take_offline(tx: Transaction, line: Pipeline, row: Row, *, grace_seconds: float, now: str, actor: str) -> None:
    why = f"its agent {row['agent_id']} has given no sign of life since {row['heard_at']}"
    workers.offline(tx, row["worker_id"], now=now, actor=actor, why=why)
    agents.request_kill(
        tx, row["agent_id"], reason=f"silent since {row['heard_at']}; its work goes to another worker",
        outcome="release", grace_seconds=grace_seconds, now=now, actor=actor,
    )  # fmt: skip
    alarms.begin(
        tx, "worker_offline", row["worker_id"], "high", f"{why}; {row['project_id']} goes to another worker",
        now=now, actor=actor, told=line.settings.administrators, project_id=row["project_id"],
    )  # fmt: skip


def left_behind(tx: Transaction) -> list[str]:
    """Assignments of workers that are offline, whose agent ended in a way that would start the next one for them."""
    rows = tx.all(
        "SELECT o.orchestrator_task_id FROM worker w JOIN queue_item i ON i.worker_id = w.worker_id "
        "AND i.status = 'working' JOIN orchestrator_task o ON o.task_id = i.task_id AND o.status = 'assigned' "
        "WHERE w.status = 'offline' AND NOT EXISTS (SELECT 1 FROM agent_lifecycle a "
        "WHERE a.orchestrator_task_id = o.orchestrator_task_id AND a.status IN ('starting', 'running'))"
    )
    return [row["orchestrator_task_id"] for row in rows]


def patients(tx: Transaction, line: Pipeline, *, now: str) -> list[Patient]:
    """Workers that are offline, and whether a restart is due, or why it fails."""
    rows = tx.all("SELECT * FROM worker WHERE status = 'offline' ORDER BY worker_id")
    return [_examined(tx, line, row, now=now) for row in rows]


def _examined(tx: Transaction, line: Pipeline, row: Row, *, now: str) -> Patient:
    item = items.of_worker(tx, row["worker_id"])
    if item is not None:
        return Patient(row, _clinging(tx, item, now=now), is_due=False)
    hold = holds.in_force(tx, row["agent_type"], now)
    if hold is not None and hold["reason"] not in holds.PASSING:
        return Patient(row, f"launches are held ({hold['reason']}): {hold['message']}", is_due=False)
    times = failures_in_a_row(tx, row["worker_id"])
    due = restart_due(row["offline_since"], row["restarted_at"], times, 60.0 * line.settings.heartbeat_minutes)
    trouble = f"it fell silent {times} times, one after another" if times > 1 else ""
    return Patient(row, trouble, is_due=due <= now)


def restart_due(offline_since: str, asked_at: str | None, times: int, pause: float) -> str:
    """When a restart is tried: at once after the first time, later and later after more; at once where it was asked
    for since it went offline."""
    if times <= 1 or (asked_at is not None and asked_at >= offline_since):
        return offline_since
    return clock.plus(offline_since, min(LONGEST_PAUSE, pause * 2.0 ** min(times - 2, 20)))


def failures_in_a_row(tx: Transaction, worker_id: str) -> int:
    """How often it fell silent since anything else became of its work."""
    return int(tx.value(IN_A_ROW, {"worker": worker_id}))


def times_of_item(tx: Transaction, item_id: int) -> int:
    """How many workers fell silent over it."""
    return int(tx.value("SELECT count(*) FROM work_spell WHERE item_id = ? AND outcome = 'failed_over'", (item_id,)))


def standing(tx: Transaction, found: list[Patient]) -> dict[tuple[str, str], Alarm]:
    """Of who is offline that, and of whom a restart failed that, until its work goes well again."""
    wanted = {}
    for each in found:
        name = each.row["worker_id"]
        wanted["worker_offline", name] = Alarm("high", f"it is offline since {each.row['offline_since']}")
        if each.trouble:
            wanted["restart_failed", name] = Alarm("critical", each.trouble)
    offline = {each.row["worker_id"] for each in found}
    for row in alarms.open_ones(tx, "restart_failed"):
        name = row["subject"]
        is_there = name not in offline and workers.get(tx, name)["status"] != "retired"
        if is_there and failures_in_a_row(tx, name) > 1:
            wanted["restart_failed", name] = Alarm("critical", row["cause"])
    return wanted


def _clinging(tx: Transaction, item: Row, *, now: str) -> str:
    """Why the item's agent cannot be got rid of, where that takes too long."""
    late = tx.one(
        "SELECT agent_id, kill_requested_at FROM agent_lifecycle WHERE task_id = ? AND status IN ('starting', "
        "'running') AND kill_requested_at IS NOT NULL AND (julianday(?) - julianday(kill_requested_at)) * 86400 > "
        "kill_grace_seconds + ?",
        (item["task_id"], now, SLACK_SECONDS),
    )
    if late is None:
        return ""
    return f"its agent {late['agent_id']} does not end, though it was asked to at {late['kill_requested_at']}"
