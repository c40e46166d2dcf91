"""Restarts that somebody asks for: recorded here, carried out by the supervisor (R-116 to R-120).

By hand means that restarts are counted from nought again (G-04). Each wish is one transaction, so that it survives the
server that recorded it, and a refused one has changed nothing.
"""

from dataclasses import dataclass

from . import agents, assignments, attempts, clock, dispatches, holds, launches, states, tasks, wishes
from .errors import IllegalTransition, MaxRetriesExceeded, NoAvailableWork, NonRetryable
from .store import Row, Transaction


@dataclass(frozen=True)
class Asked:
    """A recorded wish. ``after`` is the last agent of the task at that moment; the next one is what was asked for."""

    agent_id: str
    agent_type: str
    task_id: str
    reason: str
    after: int


@dataclass(frozen=True)
class Standing:
    """What became of a wish: ``new_agent`` once it runs, else what is in its way, where something is."""

    new_agent: Row | None
    attempt: int
    seconds: float
    hindrance: str | None


def of_agent(tx: Transaction, agent_id: str, *, force: bool, grace_seconds: float, now: str, actor: str) -> Asked:
    """Start an agent's task again: end the agent where it lives, end the wait where the task waits.

    A task that failed is opened again with ``force`` only. Raises AgentNotFound, MaxRetriesExceeded, NonRetryable,
    NoAvailableWork, IllegalTransition.
    """
    agent = agents.get(tx, agent_id)
    holds.lift_stop(tx, now=now, actor=actor)
    reason = f"restarted by {actor}"
    if agent["status"] in states.LIVE_AGENT:
        if agent["kill_outcome"] not in (None, "restart"):
            raise IllegalTransition(
                f"Agent {agent_id} is being ended: {agent['kill_reason']}.",
                hint=f"agents(action='restart', agent_id='{agent_id}', force=true) once it has ended.",
                agent_id=agent_id,
            )
        agents.request_kill(
            tx, agent_id, reason=reason, outcome="restart", grace_seconds=grace_seconds, now=now, actor=actor
        )
        return asked_of(tx, agent, agent["task_id"], reason)
    task = tasks.get(tx, agent["task_id"])
    work = assignments.of_task(tx, task["task_id"])
    if work is not None and work["status"] == "assigned":
        reason = work["error_message"] or reason
        attempts.begin_anew(tx, work["orchestrator_task_id"], now=now, actor=actor)
    elif work is None and task["status"] == "failed":
        if not force:
            raise _refusal(agent_id, task)
        _require_unblocked(tx, task)
        reason = task["error_message"] or reason
        attempts.open_again(tx, task["task_id"], now=now, actor=actor)
    else:
        raise _out_of_place(tx, agent, task, work)
    return asked_of(tx, agent, task["task_id"], reason)


def of_task(tx: Transaction, task_id: str, *, grace_seconds: float, now: str, actor: str) -> Asked:
    """Start a task again that no agent works on, one that failed included; it may never have had an agent.

    Raises TaskNotFound and what ``of_agent`` raises; IllegalTransition while an agent works on it.
    """
    task, last = tasks.get(tx, task_id), agents.of_task(tx, task_id)
    if last and last[-1]["status"] in states.LIVE_AGENT:
        raise _at_work(last[-1], task)
    if last:
        agent_id = last[-1]["agent_id"]
        return of_agent(tx, agent_id, force=True, grace_seconds=grace_seconds, now=now, actor=actor)
    holds.lift_stop(tx, now=now, actor=actor)
    work = assignments.of_task(tx, task_id)
    if work is not None:
        attempts.begin_anew(tx, work["orchestrator_task_id"], now=now, actor=actor)
    elif task["status"] == "failed":
        _require_unblocked(tx, task)
        work = attempts.open_again(tx, task_id, now=now, actor=actor)
    else:
        raise _without_agent(task)
    return asked_of_task(tx, work, task["error_message"])


def with_another(
    tx: Transaction, task_id: str, agent_type: str, *, limit: int | None, everywhere: bool, now: str, actor: str
) -> Asked:
    """Give a task that failed, or waits for its next attempt, to another type of agent now.

    Raises TaskNotFound, IllegalTransition while an agent works on it, and what ``wishes.assign`` raises.
    """
    task, work = tasks.get(tx, task_id), assignments.of_task(tx, task_id)
    live = next((row for row in agents.live(tx) if row["task_id"] == task_id), None)
    if live is not None:
        raise _at_work(live, task)
    why = f"given to {agent_type} by {actor}"
    if work is not None and work["status"] == "assigned":
        assignments.release(tx, work["orchestrator_task_id"], why=why, now=now, actor=actor)
    elif task["status"] == "failed":
        tasks.release(tx, task_id, why=why, now=now, actor=actor)
    session = wishes.Session(task_id, agent_type, limit, everywhere)
    row = wishes.assign(tx, session, now=now, actor=actor)
    return asked_of_task(tx, row, task["error_message"])


def types_of(tx: Transaction, agent_type: str | None, *, force: bool, now: str) -> set[str]:
    """The types of agent that ``of_failed`` would start."""
    rows = _waiting(tx, agent_type, now) + (_failed(tx, agent_type) if force else [])
    return {row["agent_type"] for row in rows}


def of_failed(
    tx: Transaction, agent_type: str | None, *, force: bool, max_parallel: int, now: str, actor: str
) -> list[Asked]:
    """Every restart that waits for its time is due now; with ``force`` tasks that failed are opened again as well.

    The latter are worked off by the dispatches they belong to, and by a new one where that is over.
    """
    holds.lift_stop(tx, now=now, actor=actor)
    asked = []
    for row in _waiting(tx, agent_type, now):
        attempts.begin_anew(tx, row["orchestrator_task_id"], now=now, actor=actor)
        asked.append(asked_of_task(tx, row, row["error_message"]))
    scopes: dict[str | None, list[str]] = {}
    for row in _failed(tx, agent_type) if force else ():
        asked.append(asked_of_task(tx, row, row["reason"]))
        attempts.log_restart(tx, row, code="restarted", attempt=0, delay=0.0, due=now, now=now, actor=actor)
        tasks.release(tx, row["task_id"], now=now, actor=actor, why=f"restarted by {actor}")
        if not row["is_in_dispatch"]:
            scopes.setdefault(row["dispatch_type"], []).append(row["task_id"])
    for wanted_type, task_ids in scopes.items():
        dispatches.open_or_join(tx, task_ids, max_parallel=max_parallel, agent_type=wanted_type, now=now, actor=actor)
    return asked


def standing(tx: Transaction, asked: Asked, *, now: str) -> Standing:
    """Whether the new agent runs, and if not, what is in its way and for how many seconds."""
    new = tx.one(
        "SELECT * FROM agent_lifecycle WHERE task_id = ? AND rowid > ? "
        "AND (pid IS NOT NULL OR completed_at IS NOT NULL) ORDER BY rowid LIMIT 1",
        (asked.task_id, asked.after),
    )
    if new is not None:
        return Standing(new, new["attempt"], 0.0, None)
    seconds, hindrance = hindered(tx, asked, now=now)
    return Standing(None, launches.next_attempt(tx, asked.task_id), seconds, hindrance)


def hindered(tx: Transaction, asked: Asked, *, now: str) -> tuple[float, str | None]:
    """What keeps the next agent from being started: seconds until that is over (0 where nobody knows), and why."""
    agent = agents.get(tx, asked.agent_id)
    work = assignments.of_task(tx, asked.task_id)
    if agent["status"] == "completed" and work is not None and work["status"] != "assigned":
        return 0.0, f"{asked.agent_id} ended by itself first, with its work done; that is being checked."
    if work is not None and work["dispatch_id"] and dispatches.get(tx, work["dispatch_id"])["status"] == "paused":
        return 0.0, f"Dispatch {work['dispatch_id']} is paused; assign(action='resume') lets it go on."
    hold = holds.in_force(tx, asked.agent_type, now)
    if hold is None or hold["reason"] in holds.PASSING:
        return 0.0, None
    seconds = clock.seconds_between(now, hold["until"]) if hold["until"] else 0.0
    return seconds, f"Launches are held ({hold['reason']}): {hold['message']}."


def asked_of(tx: Transaction, agent: Row, task_id: str, reason: str) -> Asked:
    """The wish for a task's next agent, as it stands now."""
    last = tx.value("SELECT max(rowid) FROM agent_lifecycle WHERE task_id = ?", (task_id,))
    return Asked(agent["agent_id"], agent["agent_type"], task_id, reason, int(last or 0))


def asked_of_task(tx: Transaction, row: Row, reason: str | None) -> Asked:
    """As ``asked_of``, of a task that may have no agent yet, where its worktree could not be made."""
    last = agents.of_task(tx, row["task_id"])
    newest = int(tx.value("SELECT max(rowid) FROM agent_lifecycle WHERE task_id = ?", (row["task_id"],)) or 0)
    return Asked(last[-1]["agent_id"] if last else "", row["agent_type"], row["task_id"], reason or "", newest)


def _refusal(agent_id: str, task: Row) -> MaxRetriesExceeded | NonRetryable:
    kind = MaxRetriesExceeded if task["error_code"] == "max_retries_exceeded" else NonRetryable
    return kind(
        f"Task {task['task_id']} has failed ({task['error_code']}): {task['error_message']}",
        hint=f"Mend the cause; agents(action='restart', agent_id='{agent_id}', force=true) opens it again.",
        agent_id=agent_id,
        task_id=task["task_id"],
        error_code=task["error_code"],
    )


def _require_unblocked(tx: Transaction, task: Row) -> None:
    if blockers := tasks.open_blockers(tx, task["task_id"]):
        names = ", ".join(row["task_id"] for row in blockers)
        raise NoAvailableWork(
            f"Task {task['task_id']} waits for {names}.",
            hint=f"why(subject='{blockers[0]['task_id']}') tells how that stands.",
            task_id=task["task_id"],
        )


def _at_work(agent: Row, task: Row) -> IllegalTransition:
    return IllegalTransition(
        f"{agent['agent_id']} works on task {task['task_id']} now.",
        hint=f"agents(action='restart', agent_id='{agent['agent_id']}') starts that one again.",
        agent_id=agent["agent_id"],
        task_id=task["task_id"],
    )


def _out_of_place(tx: Transaction, agent: Row, task: Row, work: Row | None) -> IllegalTransition:
    """The error where there is nothing to start again."""
    task_id, status = task["task_id"], task["status"]
    heir = next((row for row in agents.live(tx) if row["task_id"] == task_id), None)
    if heir is not None:
        return _at_work(heir, task)
    if status == "completed":
        said = f"Task {task_id} is completed; its work is on the integration branch"
        hint = "plan(action='add') brings in a task for what is still to be done."
    elif work is not None:
        said = f"The work of {agent['agent_id']} on task {task_id} is done, and waits for its check or its merge"
        hint = f"why(subject='{task_id}') tells what it waits for."
    else:
        return _without_agent(task)
    return IllegalTransition(f"{said}.", hint=hint, agent_id=agent["agent_id"], task_id=task_id, have=status)


def _without_agent(task: Row) -> IllegalTransition:
    task_id, status = task["task_id"], task["status"]
    hint = f"agents(action='spawn', task_id='{task_id}') starts one."
    if status == "cancelled":
        hint = f"plan(action='update', task_id='{task_id}', new_status='ready') opens it again."
    return IllegalTransition(f"Task {task_id} is {status}; no agent has it.", hint=hint, task_id=task_id, have=status)


def _waiting(tx: Transaction, agent_type: str | None, now: str) -> list[Row]:
    """Assignments whose next attempt waits for its time."""
    return tx.all(
        "SELECT * FROM orchestrator_task WHERE status = 'assigned' AND not_before > ? "
        "AND (? IS NULL OR agent_type = ?) ORDER BY not_before, task_id",
        (now, agent_type, agent_type),
    )


def _failed(tx: Transaction, agent_type: str | None) -> list[Row]:
    """The last assignment of each task that failed, with its dispatch's type of agent."""
    return tx.all(
        "SELECT o.*, t.error_message AS reason, d.agent_type AS dispatch_type, EXISTS (SELECT 1 FROM dispatch_task m "
        "JOIN dispatch a USING (dispatch_id) WHERE m.task_id = t.task_id AND a.status = 'active') AS is_in_dispatch "
        "FROM specs_task t JOIN orchestrator_task o ON o.rowid = "
        "(SELECT max(rowid) FROM orchestrator_task WHERE task_id = t.task_id) LEFT JOIN dispatch d USING (dispatch_id) "
        "WHERE t.status = 'failed' AND (? IS NULL OR o.agent_type = ?) ORDER BY t.task_id",
        (agent_type, agent_type),
    )
