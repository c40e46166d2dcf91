"""Agents: one row a process that we start, from the intention to launch it to how it ended.

A restart is a new row. The row is written before the process is started; ``term`` and the run folder's claim file
(server/runner/) make sure that an intention is carried out once at most.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from . import clock, durations, enclosures, events, notices, states
from .errors import AgentNotFound, IllegalTransition
from .spending import Spending
from .store import Row, Transaction

# The documents' thresholds (R-168): under two minutes healthy, over five stalled.
HEARTBEAT_SECONDS = 60.0
STALLED = "agent_stalled"
MARK_LENGTH = 8


@dataclass(frozen=True)
class Exit:
    """How an agent's process ended, as its runner recorded it."""

    status: str
    at: str
    code: int | None = None
    signal: int | None = None
    message: str | None = None
    limit: str | None = None  # the one that it went beyond


def get(tx: Transaction, agent_id: str) -> Row:
    """The agent's row. Raises AgentNotFound."""
    row = tx.one("SELECT * FROM agent_lifecycle WHERE agent_id = ?", (agent_id,))
    if row is None:
        raise AgentNotFound(
            f"There is no agent {agent_id!r}.", hint="agents(action='list') shows them.", agent_id=agent_id
        )
    return row


def named(tx: Transaction, name: str) -> Row:
    """The agent of that id, or the last one that worked on the task of that id. Raises AgentNotFound."""
    last = tx.value("SELECT agent_id FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", (name,))
    return get(tx, last or name)


def live(tx: Transaction) -> list[Row]:
    """Agents that are starting or running, oldest first."""
    return tx.all("SELECT * FROM agent_lifecycle WHERE status IN ('starting', 'running') ORDER BY created_at, agent_id")


def any_is_ending(tx: Transaction) -> bool:
    """Whether somebody wants one ended that has not ended yet."""
    sql = "SELECT 1 FROM agent_lifecycle WHERE status IN ('starting', 'running') AND kill_requested_at IS NOT NULL"
    return bool(tx.value(f"{sql} LIMIT 1"))


def listed(
    tx: Transaction, *, agent_type: str | None = None, state: str | None = None, after: str = "", limit: int = 100
) -> list[Row]:
    """Agents by id; without ``state`` those that are alive, with ``all`` every one."""
    return tx.all(
        "SELECT a.*, (SELECT count(*) FROM agent_restart_log r WHERE r.task_id = a.task_id) AS restarts "
        f"FROM agent_lifecycle a WHERE agent_id > :after AND (:type IS NULL OR agent_type = :type) AND {_in(state)} "
        "ORDER BY agent_id LIMIT :limit",
        {"after": after, "type": agent_type, "state": state, "limit": limit},
    )


def count(tx: Transaction, *, agent_type: str | None = None, state: str | None = None) -> int:
    """How many ``listed`` gives with no limit."""
    return int(
        tx.value(
            f"SELECT count(*) FROM agent_lifecycle WHERE (:type IS NULL OR agent_type = :type) AND {_in(state)}",
            {"type": agent_type, "state": state},
        )
    )


def _in(state: str | None) -> str:
    """A condition each, since one for all would use no index, and go through the agents of years."""
    match state:
        case None:
            return "status IN ('starting', 'running')"
        case "all":
            return "TRUE"
        case _:
            return "status = :state"


def of_task(tx: Transaction, task_id: str) -> list[Row]:
    """Every agent that worked on the task, oldest first."""
    return tx.all("SELECT * FROM agent_lifecycle WHERE task_id = ? ORDER BY attempt, created_at", (task_id,))


def history(tx: Transaction, assignment_id: str) -> list[dict[str, Any]]:
    """How each agent of the assignment ended, oldest first: what a person needs who is to look at it (R-287)."""
    rows = tx.all(
        "SELECT agent_id, status, completed_at, exit_code, exit_signal, error_message FROM agent_lifecycle "
        "WHERE orchestrator_task_id = ? ORDER BY rowid",
        (assignment_id,),
    )
    return [dict(row) for row in rows]


def failed_within(agent: Row, seconds: float) -> bool:
    """Whether this agent failed before it was that old."""
    return agent["status"] == "failed" and (agent["duration_ms"] or 0) < 1000 * seconds


def was_let_in(agent: Row) -> bool:
    """Whether its provider let it work at all: neither a limit nor a missing log-in ended it."""
    facts = json.loads(agent["metadata"])
    return not (facts.get("limit") or facts.get("login"))


def judged(tx: Transaction, agent_id: str, health: str, reasons: str, *, now: str, actor: str) -> None:
    """Keep what a health check said, and record that it changed. It is no sign of life (R-110)."""
    tx.run("UPDATE agent_lifecycle SET health = ? WHERE agent_id = ?", (health, agent_id))
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="agent",
        subject_id=agent_id,
        kind=f"agent_{health}",
        reasons=reasons,
    )


def met_limit(tx: Transaction, agent_id: str, said: str, *, now: str, actor: str) -> None:
    """Its provider's limit ended it: that says nothing of the conversation that it went on with."""
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="agent",
        subject_id=agent_id,
        kind="agent_quota_met",
        limit="quota",
        why=said,
    )
    tx.run("UPDATE agent_lifecycle SET metadata = json_set(metadata, '$.limit', 1) WHERE agent_id = ?", (agent_id,))


def talked(tx: Transaction, agent_id: str, session: str | None) -> None:
    """Keep which conversation an agent had, as its program named it; None: there is none to go on with."""
    tx.run("UPDATE agent_lifecycle SET session_id = ? WHERE agent_id = ?", (session, agent_id))


def hash_token(token: str) -> str:
    """What is stored of an agent's token: it has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def by_token(tx: Transaction, token: str) -> Row | None:
    """The live agent that was given ``token``."""
    return tx.one(
        "SELECT * FROM agent_lifecycle WHERE token_hash = ? AND status IN ('starting', 'running')",
        (hash_token(token),),
    )


def given(tx: Transaction, token: str) -> Row | None:
    """The agent that was given ``token``, though it may have ended: the name of its run folder stays (see launches)."""
    return tx.one(
        "SELECT * FROM agent_lifecycle WHERE token_hash = :hash OR run_dir LIKE '%/' || agent_id || '-' || :mark",
        {"hash": hash_token(token), "mark": hash_token(token)[:MARK_LENGTH]},
    )


def ended_of(tx: Transaction, names: Collection[str]) -> set[str]:
    """Which of these are agents that have ended."""
    rows = tx.all(
        "SELECT agent_id FROM agent_lifecycle WHERE agent_id IN (SELECT value FROM json_each(?)) "
        "AND status NOT IN ('starting', 'running')",
        (json.dumps(sorted(names)),),
    )
    return {row["agent_id"] for row in rows}


def seen_output(tx: Transaction, agent_id: str, *, at: str, memory_mb: float | None, cpu_percent: float | None) -> None:
    """A sign of life that the runner noted: the agent wrote, or its processes used the CPU (G-01)."""
    tx.run(
        "UPDATE agent_lifecycle SET last_heartbeat = max(coalesce(last_heartbeat, ''), ?), last_output_at = ?, "
        "memory_mb = ?, cpu_percent = ? WHERE agent_id = ?",
        (at, at, memory_mb, cpu_percent, agent_id),
    )


def heartbeat(tx: Transaction, agent_id: str, *, now: str) -> str:
    """The agent's own beat; returns when the next is due. Raises AgentNotFound, IllegalTransition when it has ended."""
    row = get(tx, agent_id)
    if row["status"] not in states.LIVE_AGENT:
        raise IllegalTransition(
            f"Agent {agent_id} is {row['status']}; it beats no more.",
            hint="agents(action='list') shows who is alive.",
            agent_id=agent_id,
        )
    tx.run("UPDATE agent_lifecycle SET last_heartbeat = ? WHERE agent_id = ?", (now, agent_id))
    return clock.plus(now, HEARTBEAT_SECONDS)


def ended(tx: Transaction, agent_id: str, how: Exit, *, actor: str) -> Row:
    """Record how the agent ended, and how long it took (R-062)."""
    before = get(tx, agent_id)
    began = before["started_at"] or before["created_at"]
    duration = max(0, round(clock.seconds_between(began, how.at) * 1000))
    row = events.transition(
        tx,
        states.AGENT,
        agent_id,
        how.status,
        now=how.at,
        actor=actor,
        why=how.message or "",
        facts={
            "task_id": before["task_id"],
            "attempt": before["attempt"],
            "exit_code": how.code,
            "exit_signal": how.signal,
            "duration_ms": duration,
            "limit": how.limit,
            "limit_value": None if how.limit is None else before[how.limit],
            "killed_for": before["kill_reason"],
        },
        completed_at=how.at,
        exit_code=how.code,
        exit_signal=how.signal,
        error_message=how.message,
        duration_ms=duration,
        token_hash=None,
    )
    durations.record(tx, row["agent_type"], f"task_{how.status}", duration, now=how.at)
    if before["status"] == "starting":
        enclosures.put_back(tx, before, now=how.at, actor=actor)
    notices.reader_ended(tx, agent_id, now=how.at, actor=actor)
    return row


def spent(tx: Transaction, agent_id: str, used: Spending, *, so_far: bool = False) -> None:
    """Keep what its program said that it has used; ``so_far``: with the agents before it in its conversation."""
    if so_far:
        used = used.beyond(_spent_before(tx, agent_id))
    tx.run(
        "UPDATE agent_lifecycle SET input_tokens = ?, output_tokens = ?, cost_usd = ? WHERE agent_id = ?",
        (used.input_tokens, used.output_tokens, used.cost_usd, agent_id),
    )


def _spent_before(tx: Transaction, agent_id: str) -> Spending:
    row = tx.only(
        "SELECT sum(b.input_tokens) AS inputs, sum(b.output_tokens) AS outputs, sum(b.cost_usd) AS cost "
        "FROM agent_lifecycle a JOIN agent_lifecycle b ON b.session_id = a.session_id AND b.kind = a.kind "
        "AND b.agent_id <> a.agent_id WHERE a.agent_id = ?",
        (agent_id,),
    )
    return Spending(row["inputs"], row["outputs"], row["cost"])


def request_kill(
    tx: Transaction,
    agent_id: str,
    *,
    reason: str,
    outcome: str,
    grace_seconds: float,
    now: str,
    actor: str,
    code: str | None = None,
) -> Row:
    """Ask the supervisor to end the agent; ``outcome`` says what becomes of its task: restart, release or fail.

    With ``code`` a restart counts as one after a failure, without as one by hand.

    Raises AgentNotFound, or IllegalTransition when it has ended already. Asking again shortens the grace only.
    """
    row = get(tx, agent_id)
    if row["status"] not in states.LIVE_AGENT:
        raise IllegalTransition(
            f"Agent {agent_id} has ended already ({row['status']}).",
            hint=f"why(subject='{agent_id}') tells how.",
            agent_id=agent_id,
            have=row["status"],
        )
    if row["kill_requested_at"] is None:
        events.record(
            tx,
            now=now,
            actor=actor,
            subject_type="agent",
            subject_id=agent_id,
            kind="agent_kill_requested",
            reason=reason,
            outcome=outcome,
            grace_seconds=grace_seconds,
        )
    tx.run(
        "UPDATE agent_lifecycle SET kill_requested_at = coalesce(kill_requested_at, ?), kill_reason = "
        "coalesce(kill_reason, ?), kill_outcome = coalesce(kill_outcome, ?), kill_code = coalesce(kill_code, ?), "
        "kill_grace_seconds = min(coalesce(kill_grace_seconds, 1e9), ?) WHERE agent_id = ?",
        (now, reason, outcome, code, grace_seconds, agent_id),
    )
    return get(tx, agent_id)


def end_stalled(tx: Transaction, agent_id: str, why: str, *, grace_seconds: float, now: str, actor: str) -> Row:
    """Have a stalled agent ended; its task goes on with another one, which counts as a restart (C-09).

    Raises AgentNotFound, or IllegalTransition when it has ended already.
    """
    return request_kill(
        tx,
        agent_id,
        reason=f"It was stalled: {why}.",
        outcome="restart",
        code=STALLED,
        grace_seconds=grace_seconds,
        now=now,
        actor=actor,
    )
