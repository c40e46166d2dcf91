"""What comes after an agent that failed: looked at, and put on other terms than the settings' (R-116 to R-120)."""

from dataclasses import dataclass

from . import agents, assignments, attempts, backoff, clock, holds, restarts, states, tasks
from .errors import MaxRetriesExceeded
from .restarts import Asked
from .store import Transaction


@dataclass(frozen=True)
class Terms:
    """How often and after which delays a task is started again: usually, and as was asked for it."""

    usual_restarts: int
    usual_base: float
    usual_cap: float
    max_restarts: int | None = None
    base: float | None = None
    cap: float | None = None

    @property
    def usual(self) -> backoff.Policy:
        return backoff.Policy(self.usual_restarts, self.usual_base, self.usual_cap)


@dataclass(frozen=True)
class Status:
    """Whether and when the task of an agent is started again, and why (R-119)."""

    agent_id: str
    task_id: str
    status: str
    last_failure: str | None
    can_retry: bool
    reason: str
    retry_count: int
    max_retries: int
    restarting_in_seconds: float
    backoff_seconds: float


def after_failure(tx: Transaction, agent_id: str, terms: Terms, *, grace_seconds: float, now: str, actor: str) -> Asked:
    """Start a failed agent's task again after its delay, on these terms from now on; a live agent is ended first.

    Raises AgentNotFound, MaxRetriesExceeded, NonRetryable, IllegalTransition.
    """
    agent = agents.get(tx, agent_id)
    work = assignments.of_task(tx, agent["task_id"])
    waits = work is not None and work["status"] == "assigned" and work["not_before"] is not None
    if not waits or work is None:
        return restarts.of_agent(tx, agent_id, force=False, grace_seconds=grace_seconds, now=now, actor=actor)
    assignments.note(
        tx,
        work["orchestrator_task_id"],
        max_restarts=terms.max_restarts,
        backoff_seconds=terms.base,
        backoff_cap_seconds=terms.cap,
    )
    policy = attempts.policy_of(assignments.get(tx, work["orchestrator_task_id"]), terms.usual)
    if work["retry_count"] > policy.max_restarts:
        raise MaxRetriesExceeded(
            f"Task {agent['task_id']} has failed {work['retry_count']} times; MAX_RETRIES is {policy.max_restarts}.",
            hint="Mend its cause, or give a larger MAX_RETRIES.",
            agent_id=agent_id,
            task_id=agent["task_id"],
        )
    holds.lift_stop(tx, now=now, actor=actor)
    attempts.schedule(tx, work, policy, now=now, actor=actor)
    return restarts.asked_of(tx, agent, agent["task_id"], work["error_message"] or f"restarted by {actor}")


def status(tx: Transaction, agent_id: str, usual: backoff.Policy, *, now: str) -> Status:
    """How an agent's task goes on. Raises AgentNotFound."""
    agent = agents.get(tx, agent_id)
    task = tasks.get(tx, agent["task_id"])
    work = assignments.of_task(tx, agent["task_id"])
    policy = usual if work is None else attempts.policy_of(work, usual)
    waits = work is not None and work["status"] == "assigned" and agent["status"] not in states.LIVE_AGENT
    due = work["not_before"] if work is not None and waits else None
    retries = work["retry_count"] if work is not None else attempts.retries_of(tx, task["task_id"])
    if waits:
        reason = f"its task waits for restart {retries} of {policy.max_restarts}"
    elif task["status"] == "failed":
        reason = f"its task has failed ({task['error_code']}) and waits for a person"
    else:
        reason = f"its task is {task['status']}; there is nothing to start again"
    return Status(
        agent_id,
        task["task_id"],
        agent["status"],
        agent["error_message"],
        waits,
        reason,
        retries,
        policy.max_restarts,
        round(max(0.0, clock.seconds_between(now, due)), 3) if due else 0.0,
        backoff.delay(max(1, retries), policy.base, policy.cap),
    )
