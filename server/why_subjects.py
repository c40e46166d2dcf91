"""Why an agent, a message, a merge or a dispatch stands as it does; ``why`` asks here, and knows the tasks itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from . import dispatches, events, merges, reports
from .store import Row, Transaction

Answer = tuple[str, str]  # because, and the next call
HEALTH = {"warning": "not well"}


@dataclass(frozen=True)
class Bounds:
    """The settings that hold work back."""

    default_agent: str
    max_instances: Mapping[str, int]
    auto_approve: bool


def is_in_trouble(tx: Transaction, agent: Row) -> bool:
    """Whether there is more to say of a live agent than that it works."""
    is_unwell = agent["health"] not in (None, "healthy")
    return agent["completed_at"] is None and bool(
        agent["kill_requested_at"] or is_unwell or reports.waits(tx, agent["agent_id"])
    )


def of_agent(tx: Transaction, agent: Row, now: str, _bounds: Bounds) -> Answer:
    name, log = agent["agent_id"], f"agents(action='log', agent_id='{agent['agent_id']}')"
    on = f" on task {agent['task_id']}" if agent["task_id"] else ""
    if agent["kill_requested_at"] and agent["completed_at"] is None:
        reason = agent["kill_reason"].rstrip(".")
        return f"Agent {name} is being ended{on} since {agent['kill_requested_at']}: {reason}.", log
    if is_in_trouble(tx, agent):
        return _in_trouble(tx, agent, on)
    if agent["status"] == "starting":
        return f"Agent {name} is starting{on} since {agent['created_at']}.", log
    if agent["status"] == "running":
        return f"Agent {name} runs{on} since {agent['started_at']}; last sign of life {agent['last_heartbeat']}.", log
    end = f"exit code {agent['exit_code']}" if agent["exit_code"] is not None else f"signal {agent['exit_signal']}"
    said = f": {agent['error_message'].rstrip('.')}" if agent["error_message"] else ""
    next_call = f"why(subject='{agent['task_id']}')" if agent["task_id"] else log
    because = f"Agent {name} ended{on} at {agent['completed_at']} ({agent['status']}, {end}){said}."
    return f"{because}{_restart_due(tx, agent, now)}", next_call


def _in_trouble(tx: Transaction, agent: Row, on: str) -> Answer:
    """Of a live agent that waits for an answer, or that the last health check found something wrong with."""
    name = agent["agent_id"]
    report = reports.last(tx, name)
    if report is not None and reports.waits(tx, name):
        return (
            f"Agent {name} waits{on} since {report.at} for an answer; it reported: {report.kind}. {report.summary}",
            f"route(action='send', target_agent='{name}', content=…)",
        )
    reasons = next(
        (
            json.loads(event["data"]).get("reasons", "")
            for event in reversed(events.of(tx, "agent", name))
            if event["kind"] == f"agent_{agent['health']}"
        ),
        "",
    )
    said = f": {reasons}" if reasons else ""
    next_call = f"agents(action='health', agent_id='{name}')"
    if agent["health"] == "stalled":
        next_call = f"agents(action='restart', agent_id='{name}')"
    return (
        f"Agent {name} runs{on} since {agent['started_at']}, and the last health check found it "
        f"{HEALTH.get(agent['health'], agent['health'])}{said}; last sign of life {agent['last_heartbeat']}.",
        next_call,
    )


def _restart_due(tx: Transaction, agent: Row, now: str) -> str:
    """Of an agent that has ended: when its task is tried again, where that is still to come."""
    row = tx.one(
        "SELECT * FROM orchestrator_task WHERE orchestrator_task_id = ? AND status = 'assigned' AND not_before > ?",
        (agent["orchestrator_task_id"], now),
    )
    return "" if row is None else f" Restart {row['retry_count']} of its task is due at {row['not_before']}."


def of_message(tx: Transaction, message: Row, now: str, _bounds: Bounds) -> Answer:
    to, status = message["to_agent"], message["status"]
    head = f"Message {message['message_id']} from {message['from_agent']} to {to}"
    if status == "pending":
        alive = tx.one(
            "SELECT 1 FROM agent_lifecycle WHERE ? IN (agent_id, agent_type) AND status IN ('starting', 'running')",
            (to,),
        )
        reader = "has not polled yet" if alive or to == "lead" else "has no live agent; its mail is kept"
        if message["visible_at"] is not None and message["visible_at"] > now:
            reader = f"has not acknowledged it; it is delivered again from {message['visible_at']} on"
        if message["expires_at"] is not None:
            reader += f", until {message['expires_at']}" if "kept" in reader else ""
        return f"{head} is pending since {message['created_at']}: {to} {reader}.", "agents(action='list')"
    if status == "delivered":
        late = " (over, it is delivered again at the next poll)" if message["lease_until"] <= now else ""
        return (
            f"{head} was taken by {message['claimed_by']}, delivery {message['delivery_count']}, who has until "
            f"{message['lease_until']}{late} to acknowledge it.",
            f"route(action='acknowledge', message_id='{message['message_id']}')",
        )
    if status == "acknowledged":
        return f"{head} was acknowledged at {message['acknowledged_at']}.", "route(action='status')"
    return f"{head} has {status}: {message['error_message']}.", "route(action='send')"


def of_merge(tx: Transaction, request: Row, now: str, bounds: Bounds) -> Answer:
    head = f"The merge {request['merge_id']} of task {request['task_id']} into {request['target_branch']}"
    task = f"why(subject='{request['task_id']}')"
    if request["status"] == "checking":
        return f"{head} is being checked now.", "worktrees(action='queue')"
    if request["status"] == "merged":
        settled = merges.settled_in(request)
        told = f" Conflicts settled: {'; '.join(settled)}." if settled else ""
        return f"{head} happened at {request['ended_at']} as {request['merge_commit'][:12]}.{told}", task
    if request["status"] != "queued":
        return f"{head} ended {request['status']} at {request['ended_at']}: {request['error_message']}", task
    position = next(row["position"] for row in merges.queue(tx) if row["merge_id"] == request["merge_id"])
    if not bounds.auto_approve and request["approved_by"] is None:
        return (
            f"{head} waits for an approval, at position {position}.",
            f"worktrees(action='merge', task_id='{request['task_id']}', approve=True)",
        )
    if request["not_before"] and request["not_before"] > now:
        return f"{head} waits until {request['not_before']}: {request['error_message']}", "worktrees(action='queue')"
    return f"{head} is at position {position} of the queue.", "worktrees(action='queue')"


def of_dispatch(tx: Transaction, dispatch: Row, _now: str, _bounds: Bounds) -> Answer:
    name = dispatch["dispatch_id"]
    rows = tx.all(
        "SELECT t.status, count(*) AS n FROM dispatch_task d JOIN specs_task t USING (task_id) WHERE d.dispatch_id = ? "
        "GROUP BY t.status ORDER BY t.status",
        (name,),
    )
    facts = ", ".join(f"{row['n']} {row['status']}" for row in rows)
    if dispatch["status"] == "paused":
        return f"Dispatch {name} is paused: {facts}.", f"assign(action='resume', dispatch_id='{name}')"
    if dispatch["status"] == "active":
        used = dispatches.slots_used(tx, name)
        return (
            f"Dispatch {name} is active with {used} of {dispatch['max_parallel']} agents at work: {facts}.",
            "agents(action='list')",
        )
    return f"Dispatch {name} is {dispatch['status']} since {dispatch['ended_at']}: {facts}.", "plan(action='show')"
