"""The yard at one moment, for ``crewyard status``, the status resource and whoever watches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import agents, clock, dispatches, holds, lease, merges, message_counts, tasks
from .store import Row, Transaction


@dataclass(frozen=True)
class AgentView:
    """An agent as ``agents list`` shows it. ``uptime_seconds`` ends with the agent."""

    agent_id: str
    agent_type: str
    status: str
    task_id: str | None
    pid: int | None
    uptime_seconds: float | None
    last_heartbeat: str | None
    restarts: int


@dataclass(frozen=True)
class MergeView:
    """An open merge request at its place in the queue."""

    merge_id: int
    task_id: str
    status: str
    position: int
    target_branch: str
    waits_until: str | None
    error: str | None
    approved_by: str | None = None


@dataclass(frozen=True)
class DispatchView:
    """A dispatch that is not over."""

    dispatch_id: str
    status: str
    max_parallel: int
    tasks: int
    agents_at_work: int
    created_at: str


@dataclass(frozen=True)
class LeaseView:
    """Which process supervises, and until when it may without renewing."""

    holder: str
    pid: int
    term: int
    until: str
    is_held: bool


@dataclass(frozen=True)
class HoldView:
    """Why no agent of a type (``scope``; ``*`` is any) is launched, until when (None: until somebody lifts it)."""

    scope: str
    reason: str
    message: str
    since: str
    until: str | None


@dataclass(frozen=True)
class Overview:
    """Everything at a glance; no ``messages`` where nobody asked to have them counted."""

    at: str
    tasks: dict[str, int]
    in_review: list[str]
    agents: list[AgentView]
    merges: list[MergeView]
    dispatches: list[DispatchView]
    messages: dict[str, int]
    supervisor: LeaseView | None
    holds: list[HoldView]


def overview(tx: Transaction, *, now: str, uptime: float, with_messages: bool = True) -> Overview:
    """Messages that have ended are looked at one by one to be counted: 0.2 s for a million."""
    review = tx.all("SELECT task_id FROM specs_task WHERE needs_review = 1 ORDER BY task_id LIMIT 100")
    return Overview(
        at=now,
        tasks=tasks.counts(tx),
        in_review=[row["task_id"] for row in review],
        agents=agent_views(agents.listed(tx, limit=1000), now=now),
        merges=merge_views(merges.queue(tx)),
        dispatches=open_dispatches(tx),
        messages=message_counts.by_state(tx) if with_messages else {},
        supervisor=_supervisor(tx, uptime),
        holds=hold_views(tx, now),
    )


def agent_views(rows: Sequence[Row], *, now: str) -> list[AgentView]:
    """Rows of ``agents.listed``."""
    return [
        AgentView(
            row["agent_id"],
            row["agent_type"],
            row["status"],
            row["task_id"],
            row["pid"],
            uptime(row, now),
            row["last_heartbeat"],
            row["restarts"],
        )
        for row in rows
    ]


def merge_views(rows: Sequence[Row]) -> list[MergeView]:
    """Rows of ``merges.queue``."""
    return [
        MergeView(
            row["merge_id"],
            row["task_id"],
            row["status"],
            row["position"],
            row["target_branch"],
            row["not_before"],
            row["error_message"],
            row["approved_by"],
        )
        for row in rows
    ]


def open_dispatches(tx: Transaction) -> list[DispatchView]:
    return [dispatch_view(tx, row) for state in ("active", "paused") for row in dispatches.listed(tx, status=state)]


def dispatch_view(tx: Transaction, row: Row) -> DispatchView:
    """A row of ``dispatches.listed``."""
    return DispatchView(
        row["dispatch_id"],
        row["status"],
        row["max_parallel"],
        row["tasks"],
        dispatches.agents_at_work(tx, row["dispatch_id"]),
        row["created_at"],
    )


def agent_detail(tx: Transaction, agent_id: str, *, now: str) -> dict[str, Any]:
    """All that is recorded of one agent, with its reports. Raises AgentNotFound."""
    row = agents.get(tx, agent_id)
    hidden = ("token_hash", "metadata", "term")
    detail = {key: row[key] for key in row.keys() if key not in hidden}  # noqa: SIM118  (a Row iterates its values)
    reports = tx.all(
        "SELECT kind, summary, no_change, at FROM agent_report WHERE agent_id = ? ORDER BY report_id", (agent_id,)
    )
    detail["uptime_seconds"] = uptime(row, now)
    detail["reports"] = [dict(report) for report in reports[-50:]]
    return detail


def uptime(row: Row, now: str) -> float | None:
    """Seconds since the agent was started, or for which it ran; None where it never was."""
    if row["started_at"] is None:
        return None
    return round(clock.seconds_between(row["started_at"], row["completed_at"] or now), 3)


def hold_views(tx: Transaction, now: str) -> list[HoldView]:
    """What keeps agents from being launched at this moment."""
    return [
        HoldView(row["scope"], row["reason"], row["message"], row["since"], row["until"])
        for row in holds.listed(tx)
        if row["until"] is None or row["until"] > now
    ]


def _supervisor(tx: Transaction, uptime: float) -> LeaseView | None:
    row = lease.current(tx)
    if row is None:
        return None
    return LeaseView(row["holder"], row["pid"], row["term"], row["until"], lease.is_held(row, uptime=uptime))
