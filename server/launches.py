"""Launches: an agent's row from the intention to start it to the start, each of them made once at most (C-15)."""

import json
import uuid
from dataclasses import dataclass

from . import agents, clock, enclosures, events, notices, states
from .errors import SingletonViolation
from .store import Row, Transaction

DISPATCH = "SELECT dispatch_id FROM orchestrator_task WHERE orchestrator_task_id = ?"
CLAIM_SECONDS = 10.0  # a launch that no runner has claimed by then is not made any more


def count(tx: Transaction, assignment_id: str) -> int:
    """How many agents were launched for the assignment, but for those whose program was not logged in."""
    return int(
        tx.value(
            "SELECT count(*) FROM agent_lifecycle WHERE orchestrator_task_id = ? AND runner_pid IS NOT NULL "
            "AND metadata ->> '$.login' IS NULL",
            (assignment_id,),
        )
    )


def next_attempt(tx: Transaction, task_id: str) -> int:
    """The number of the next agent that is launched for the task, of all its assignments."""
    sql = "SELECT count(*) FROM agent_lifecycle WHERE task_id = ? AND runner_pid IS NOT NULL"
    return 1 + int(tx.value(sql, (task_id,)))


@dataclass(frozen=True)
class Crowd:
    """How much is going on, apart from how full the machine is: what it can take depends on both."""

    at_work: int
    launched_in_last_minute: int


def crowd(tx: Transaction, now: str) -> Crowd:
    return Crowd(agents.count(tx), in_last_minute(tx, now))


def in_last_minute(tx: Transaction, now: str) -> int:
    """Launches of all agents."""
    return int(tx.value("SELECT count(*) FROM agent_lifecycle WHERE created_at > ?", (clock.plus(now, -60.0),)))


def next_id(tx: Transaction, agent_type: str, now: str) -> str:
    """``<type>-YYYYMMDD-NNN`` (R-102)."""
    prefix = f"{agent_type}-{now[:10].replace('-', '')}-"
    last = tx.value(
        "SELECT max(CAST(substr(agent_id, ?) AS INTEGER)) FROM agent_lifecycle WHERE substr(agent_id, 1, ?) = ?",
        (len(prefix) + 1, len(prefix), prefix),
    )
    return f"{prefix}{(last or 0) + 1:03d}"


@dataclass(frozen=True)
class LaunchOrder:
    """What is to be launched: recorded before it is done."""

    agent_type: str
    kind: str
    task_id: str
    orchestrator_task_id: str
    workspace: str
    runs_folder: str
    timeout_seconds: float
    memory_limit_mb: int | None
    token_hash: str
    term: int
    everywhere: bool = False  # one agent of the type in all workspaces together, not in each
    failed_start_seconds: float = 0.0


def require_single(tx: Transaction, agent_type: str, workspace: str | None) -> None:
    """Raises SingletonViolation where an agent of the type lives in ``workspace``, or anywhere for None (R-009)."""
    rival = tx.one(
        "SELECT * FROM agent_lifecycle WHERE agent_type = ? AND (? IS NULL OR workspace = ?) "
        "AND status IN ('starting', 'running') ORDER BY created_at LIMIT 1",
        (agent_type, workspace, workspace),
    )
    if rival is not None:
        raise SingletonViolation(
            f"{rival['agent_id']} (pid {rival['pid']}, since {rival['started_at']}) works in "
            f"{rival['workspace']} already.",
            hint=f"agents(action='kill', agent_id='{rival['agent_id']}') ends it.",
            agent_id=rival["agent_id"],
            pid=rival["pid"],
            started_at=rival["started_at"],
        )


def conversation(tx: Transaction, order: LaunchOrder) -> tuple[str, bool]:
    """The session of the task's last agent where there is one to resume, else a new one; and which of both it is.

    One that failed at once when it was resumed is not resumed again, and one that was not logged in had none.
    """
    last = tx.one(
        "SELECT * FROM agent_lifecycle WHERE orchestrator_task_id = ? AND agent_type = ? AND kind = ? "
        "AND started_at IS NOT NULL AND metadata ->> '$.login' IS NULL ORDER BY rowid DESC LIMIT 1",
        (order.orchestrator_task_id, order.agent_type, order.kind),
    )
    if last is None or last["session_id"] is None:
        return str(uuid.uuid4()), False
    facts = json.loads(last["metadata"])
    if agents.failed_within(last, order.failed_start_seconds) and facts.get("resumed") and not facts.get("limit"):
        return str(uuid.uuid4()), False
    return last["session_id"], True


def plan_launch(tx: Transaction, order: LaunchOrder, *, now: str, actor: str) -> Row:
    """Record the intention to launch an agent; returns its row. Raises SingletonViolation (R-009, C-15)."""
    require_single(tx, order.agent_type, None if order.everywhere else order.workspace)
    session_id, resumed = conversation(tx, order)
    agent_id = next_id(tx, order.agent_type, now)
    attempt = next_attempt(tx, order.task_id)
    row = tx.only(
        "INSERT INTO agent_lifecycle (agent_id, agent_type, kind, task_id, orchestrator_task_id, attempt, workspace, "
        "run_dir, term, timeout_seconds, memory_limit_mb, token_hash, session_id, metadata, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            agent_id,
            order.agent_type,
            order.kind,
            order.task_id,
            order.orchestrator_task_id,
            attempt,
            order.workspace,
            f"{order.runs_folder}/{agent_id}-{order.token_hash[: agents.MARK_LENGTH]}",
            order.term,
            order.timeout_seconds,
            order.memory_limit_mb,
            order.token_hash,
            session_id,
            json.dumps({"resumed": resumed}),
            now,
        ),
    )
    replaced = tx.one(
        "UPDATE agent_restart_log SET new_agent_id = ? WHERE restart_id = (SELECT max(restart_id) "
        "FROM agent_restart_log WHERE task_id = ? AND new_agent_id IS NULL) RETURNING agent_id",
        (agent_id, order.task_id),
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="agent",
        subject_id=agent_id,
        kind="agent_starting",
        to_state="starting",
        task_id=order.task_id,
        attempt=attempt,
        agent_type=order.agent_type,
        program=order.kind,
        assignment=order.orchestrator_task_id,
        dispatch=tx.value(DISPATCH, (order.orchestrator_task_id,)),
        replaces=None if replaced is None else replaced["agent_id"],
        workspace=order.workspace,
        timeout_seconds=order.timeout_seconds,
        memory_limit_mb=order.memory_limit_mb,
    )
    notices.assigned(tx, row, now=now)
    return row


def started(tx: Transaction, agent_id: str, *, pid: int, start_time: str, boot_id: str, at: str, actor: str) -> Row:
    """The runner has started the agent's process."""
    enclosures.settle(tx, agents.get(tx, agent_id), now=at)
    return events.transition(
        tx,
        states.AGENT,
        agent_id,
        "running",
        now=at,
        actor=actor,
        facts={"pid": pid},
        pid=pid,
        pid_start_time=start_time,
        boot_id=boot_id,
        started_at=at,
        last_heartbeat=at,
    )


def runner_started(tx: Transaction, agent_id: str, *, pid: int, start_time: str, boot_id: str) -> None:
    """The runner's own identity, known as soon as it is spawned."""
    tx.run(
        "UPDATE agent_lifecycle SET runner_pid = ?, runner_start_time = ?, boot_id = ? WHERE agent_id = ?",
        (pid, start_time, boot_id, agent_id),
    )
