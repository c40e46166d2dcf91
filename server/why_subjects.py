"""Why an agent, a message, an assignment or a dispatch stands as it does."""

import json
import signal
from collections.abc import Callable

from . import clock, dispatches, enclosures, events, recipients, reports, tasks
from .next_calls import call
from .store import Row, Transaction
from .why_launches import CREW, Bounds

Answer = tuple[str, str]  # because, and the next call
HEALTH = {"warning": "not well"}
OUTCOMES = {
    "restart": "its task goes on with another agent",
    "release": "its task goes back to the plan",
    "fail": "its task is given up",
}


def log_of(agent_id: str) -> str:
    return call("agents", action="log", agent_id=agent_id)


def is_in_trouble(tx: Transaction, agent: Row) -> bool:
    """Whether there is more to say of a live agent than that it works."""
    is_unwell = agent["health"] not in (None, "healthy")
    return agent["completed_at"] is None and bool(
        agent["kill_requested_at"] or is_unwell or reports.waits(tx, agent["agent_id"])
    )


# ------------------------------------------------------------------------------------------------- agents


def of_agent(tx: Transaction, agent: Row, now: str, bounds: Bounds) -> Answer:
    name, log = agent["agent_id"], log_of(agent["agent_id"])
    on = f" on task {agent['task_id']}" if agent["task_id"] else ""
    if agent["status"] == "running" and name in bounds.gone:
        gone = "and its process is gone; whoever supervises takes that in"
        return f"Agent {name} ran{on} since {agent['started_at']}, {gone}.", CREW
    if agent["kill_requested_at"] and agent["completed_at"] is None:
        reason = agent["kill_reason"].rstrip(".")
        end = clock.plus(agent["kill_requested_at"], agent["kill_grace_seconds"])
        then = OUTCOMES[agent["kill_outcome"]]
        return (
            f"Agent {name} is being ended{on} since {agent['kill_requested_at']}: {reason}. It has until {end} to end "
            f"by itself, then {then}.",
            log,
        )
    if is_in_trouble(tx, agent):
        return _in_trouble(tx, agent, on)
    because = AGENTS[agent["status"]](agent)
    if agent["completed_at"] is None:
        return f"Agent {name} {because.format(on=on)}.", log
    said = f": {agent['error_message'].rstrip('.')}" if agent["error_message"] else ""
    killed = f"; {agent['kill_reason'].rstrip('.')}" if agent["kill_reason"] else ""
    next_call = call("why", subject=agent["task_id"]) if agent["task_id"] else log
    ended = f"Agent {name} ended{on} at {agent['completed_at']} ({agent['status']}, {because}){said}{killed}."
    return f"{ended}{_restart_due(tx, agent, now)}", next_call


def _starting(agent: Row) -> str:
    return f"is starting{{on}} since {agent['created_at']}"


def _running(agent: Row) -> str:
    return f"runs{{on}} since {agent['started_at']}; last sign of life {agent['last_heartbeat']}"


def _end(agent: Row) -> str:
    """By its exit; of one that was ended by a signal, that."""
    if agent["exit_code"] is not None:
        return f"exit code {agent['exit_code']}"
    if agent["exit_signal"] is not None:
        return f"signal {_signal_name(agent['exit_signal'])}"
    return "how is not known"


def _out_of_time(agent: Row) -> str:
    return f"after its {agent['timeout_seconds']:g} s"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time signals between the first and the last have no name
        return str(number)


AGENTS: dict[str, Callable[[Row], str]] = {
    "starting": _starting,
    "running": _running,
    "completed": _end,
    "failed": _end,
    "killed": _end,
    "timeout": _out_of_time,
    "lost": _end,
}


def _in_trouble(tx: Transaction, agent: Row, on: str) -> Answer:
    """Of a live agent that waits for an answer, or that the last health check found something wrong with."""
    name = agent["agent_id"]
    report = reports.last(tx, name)
    if report is not None and reports.waits(tx, name):
        asked = f"Agent {name} waits{on} since {report.at} for an answer; it reported: {report.kind}. {report.summary}"
        if reports.is_answered(tx, name):
            end = "" if asked.endswith((".", "?", "!")) else "."
            return f"{asked}{end} It was answered, and has not polled its mail since.", log_of(name)
        return asked, call("route", action="send", target_agent=name, content="…")
    reasons = next(
        (
            json.loads(event["data"]).get("reasons", "")
            for event in reversed(events.of(tx, "agent", name))
            if event["kind"] == f"agent_{agent['health']}"
        ),
        "",
    )
    said = f": {reasons}" if reasons else ""
    action = "restart" if agent["health"] == "stalled" else "health"
    return (
        f"Agent {name} runs{on} since {agent['started_at']}, and the last health check found it "
        f"{HEALTH.get(agent['health'], agent['health'])}{said}; last sign of life {agent['last_heartbeat']}.",
        call("agents", action=action, agent_id=name),
    )


def _restart_due(tx: Transaction, agent: Row, now: str) -> str:
    """Of an agent that has ended: when its task is tried again, where that is still to come."""
    row = tx.one(
        "SELECT * FROM orchestrator_task WHERE orchestrator_task_id = ? AND status = 'assigned' AND not_before > ?",
        (agent["orchestrator_task_id"], now),
    )
    return "" if row is None else f" Restart {row['retry_count']} of its task is due at {row['not_before']}."


# ----------------------------------------------------------------------------------------------- messages


def of_message(tx: Transaction, message: Row, now: str, _bounds: Bounds) -> Answer:
    because, next_call = MESSAGES[message["status"]](tx, message, now)
    head = f"Message {message['message_id']} from {message['from_agent']} to {message['to_agent']}"
    return f"{head} {because}", next_call


def _pending(tx: Transaction, message: Row, now: str) -> Answer:
    to = message["to_agent"]
    alive = tx.value(
        "SELECT agent_id FROM agent_lifecycle WHERE ? IN (agent_id, agent_type) AND status IN ('starting', 'running')",
        (to,),
    )
    expires = f", until it expires at {message['expires_at']}" if message["expires_at"] else ""
    next_call = CREW
    if message["visible_at"] is not None and message["visible_at"] > now:
        times = message["delivery_count"]
        reader = f"did not acknowledge delivery {times}; it is delivered again from {message['visible_at']} on"
    elif to == recipients.LEAD:
        reader, next_call = "has not polled yet", call("route", action="poll")
    elif alive:
        reader = "has not polled yet; where its program cannot poll, the next prompt has it"
        next_call = call("agents", action="health", agent_id=alive)
    elif recipients.is_gone(tx, to):
        reader = "has ended and nobody takes its place, so that nobody will read it; nothing is to be done"
    elif task_id := tx.value("SELECT task_id FROM agent_lifecycle WHERE agent_id = ?", (to,)):
        reader = f"has ended; the next attempt at {task_id} gets it in its prompt{expires}"
    else:
        reader = f"has no live agent; its mail is kept{expires}"
    return f"is pending since {message['created_at']}: {to} {reader}.", next_call


def _delivered(tx: Transaction, message: Row, now: str) -> Answer:
    late = " (over, it is delivered again at the next poll)" if message["lease_until"] <= now else ""
    reader = message["claimed_by"]
    if enclosures.is_in_prompt(tx, message):
        return f"is in the prompt of {reader}, whose start settles it.", call("why", subject=reader)
    next_call = call("route", action="acknowledge", message_id=message["message_id"])
    if reader != recipients.LEAD:
        is_agent = tx.one("SELECT 1 FROM agent_lifecycle WHERE agent_id = ?", (reader,)) is not None
        next_call = call("why", subject=reader) if is_agent else call("route", action="status")
    return (
        f"was taken by {reader}, delivery {message['delivery_count']}, who has until {message['lease_until']}{late} to "
        "acknowledge it.",
        next_call,
    )


def _acknowledged(tx: Transaction, message: Row, _now: str) -> Answer:
    reader = message["claimed_by"]
    if enclosures.was_in_prompt(tx, message):
        return f"was put into the prompt of {reader}, which started with it at {message['acknowledged_at']}.", call(
            "why", subject=reader
        )
    return f"was acknowledged at {message['acknowledged_at']}.", call("route", action="status")


def _ended(_tx: Transaction, message: Row, _now: str) -> Answer:
    again = call("route", action="send", target_agent=message["to_agent"], content="…")
    return f"{message['status']} at {message['ended_at']}: {message['error_message']}.", again


MESSAGES: dict[str, Callable[[Transaction, Row, str], Answer]] = {
    "pending": _pending,
    "delivered": _delivered,
    "acknowledged": _acknowledged,
    "failed": _ended,
    "expired": _ended,
}


# --------------------------------------------------------------------------------------------- dispatches


def of_dispatch(tx: Transaction, dispatch: Row, _now: str, _bounds: Bounds) -> Answer:
    name = dispatch["dispatch_id"]
    facts = ", ".join(f"{row['n']} {row['status']}" for row in _counts(tx, name))
    because, next_call = DISPATCHES[dispatch["status"]](tx, dispatch)
    return f"Dispatch {name} is {because}: {facts}.", next_call


def _active(tx: Transaction, dispatch: Row) -> Answer:
    name = dispatch["dispatch_id"]
    used, at_work = dispatches.slots_used(tx, name), dispatches.agents_at_work(tx, name)
    more = f" and {used - at_work} to start" if used > at_work else ""
    head = f"active with {at_work} of {dispatch['max_parallel']} agents at work{more}"
    if dispatches.is_over(tx, name):
        tidy = "it ends in a moment" if dispatches.is_tidy(tx, name) else "its worktrees are being cleaned up"
        return f"{head}; nothing of it can go on, and {tidy}", call("worktrees", action="list")
    waiting = tasks.ready(tx, limit=1, dispatch_id=name)
    return head, call("why", subject=waiting[0]["task_id"]) if waiting and not used else CREW


def _paused(_tx: Transaction, dispatch: Row) -> Answer:
    return "paused", call("assign", action="resume", dispatch_id=dispatch["dispatch_id"])


def _over(_tx: Transaction, dispatch: Row) -> Answer:
    return f"{dispatch['status']} since {dispatch['ended_at']}", call("plan", action="show")


def _counts(tx: Transaction, dispatch_id: str) -> list[Row]:
    return tx.all(
        "SELECT t.status, count(*) AS n FROM dispatch_task d JOIN specs_task t USING (task_id) WHERE d.dispatch_id = ? "
        "GROUP BY t.status ORDER BY t.status",
        (dispatch_id,),
    )


DISPATCHES: dict[str, Callable[[Transaction, Row], Answer]] = {
    "active": _active,
    "paused": _paused,
    "completed": _over,
    "cancelled": _over,
}
