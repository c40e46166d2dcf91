"""``auto-restart-agent``: start the task of an agent that failed again, after its delay (R-116 to R-120)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .. import clock, restarting, retries
from ..errors import AgentNotFound, IllegalTransition, MaxRetriesExceeded, NonRetryable, SpawnFailed
from ..identity import Caller
from ..restarts import Standing
from ..sections import ONE_YEAR
from ..yard import Yard
from .base import Answer, Command, Example, Parameters, required

Action = Literal["restart_agent", "restart_all_failed", "check_status"]
LONGEST_WAIT_SECONDS = 30.0


class Given(Parameters):
    action: Annotated[Action, Field(description="what to do")] = "restart_agent"
    agent_id: Annotated[str | None, Field(description="restart_agent, check_status: the agent")] = None
    max_retries: Annotated[
        int | None, Field(ge=0, le=100, description="restarts of the task; else [crew] max_restarts (3)")
    ] = None
    initial_backoff_seconds: Annotated[
        float | None, Field(ge=0, le=ONE_YEAR, description="before the first; else [crew] restart_backoff_seconds (2)")
    ] = None
    max_backoff_seconds: Annotated[
        float | None,
        Field(ge=0, le=ONE_YEAR, description="the longest delay; else [crew] restart_backoff_cap_seconds (120)"),
    ] = None


class Result(Answer):
    action: Action


class Restarted(Result):
    old_agent_id: str
    new_agent_id: str | None
    task_id: str
    retry_count: int
    max_retries: int
    backoff_seconds: float
    restarting_in_seconds: float
    message: str | None


class Scheduled(BaseModel):
    agent_id: str
    task_id: str
    reason: str
    restarting_in_seconds: float
    hindrance: str | None


class RestartedAll(Result):
    agents_scheduled: list[Scheduled]
    total: int


class Status(Result):
    agent_id: str
    task_id: str
    status: str
    last_failure: str | None
    can_retry: bool
    reason: str
    retry_count: int
    max_retries: int
    restarting_in_seconds: float


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    if given.action == "restart_all_failed":
        return await _restart_all(yard, caller)
    agent_id = required("auto-restart-agent", given.action, "AGENT_ID", given.agent_id)
    terms = _terms(yard, given)
    if given.action == "restart_agent":
        return await _restart(yard, caller, agent_id, terms)
    found = await yard.read(caller, retries.status, agent_id, terms.usual, now=clock.now())
    return Status(action="check_status", **vars(found))


def _terms(yard: Yard, given: Given) -> retries.Terms:
    base, cap = yard.settings.backoff
    return retries.Terms(
        yard.settings.crew.max_restarts,
        base,
        cap,
        given.max_retries,
        given.initial_backoff_seconds,
        given.max_backoff_seconds,
    )


async def _restart(yard: Yard, caller: Caller, agent_id: str, terms: retries.Terms) -> Restarted:
    asked = await yard.run(
        caller,
        retries.after_failure,
        agent_id,
        terms,
        grace_seconds=yard.settings.crew.grace_period_seconds,
        now=clock.now(),
        actor=caller.name,
    )
    found = await yard.read(caller, retries.status, agent_id, terms.usual, now=clock.now())
    waits = min(found.restarting_in_seconds, LONGEST_WAIT_SECONDS) + restarting.START_SECONDS
    if found.restarting_in_seconds > LONGEST_WAIT_SECONDS:
        waits = 0.0
    standing = await restarting.launched(yard, asked, waits)
    new = standing.new_agent
    if new is not None and new["pid"] is None:
        raise SpawnFailed(new["error_message"] or "The agent could not be started.", task_id=asked.task_id)
    return Restarted(
        action="restart_agent",
        old_agent_id=agent_id,
        new_agent_id=None if new is None else new["agent_id"],
        task_id=asked.task_id,
        retry_count=found.retry_count,
        max_retries=found.max_retries,
        backoff_seconds=found.backoff_seconds,
        restarting_in_seconds=0.0 if new is not None else found.restarting_in_seconds,
        message=await _not_yet(yard, standing),
    )


async def _not_yet(yard: Yard, standing: Standing) -> str | None:
    if standing.new_agent is not None:
        return None
    if standing.hindrance is not None:
        return standing.hindrance
    supervised = await yard.operations.is_supervised()
    return "It is recorded." if supervised else "It is recorded; nobody supervises: `crewyard start` starts it in time."


async def _restart_all(yard: Yard, caller: Caller) -> RestartedAll:
    asked = await restarting.restart_failed(yard, caller, "", force=False)
    found = [
        Scheduled(
            agent_id=each.asked.agent_id,
            task_id=each.asked.task_id,
            reason=each.asked.reason,
            restarting_in_seconds=round(each.seconds, 3),
            hindrance=each.hindrance,
        )
        for each in asked
    ]
    for each in asked:
        await restarting.launched(yard, each.asked, restarting.START_SECONDS)
    return RestartedAll(action="restart_all_failed", agents_scheduled=found, total=len(found))


COMMAND = Command(
    name="auto-restart-agent",
    purpose="Start the task of an agent that failed again, after its delay and a bounded number of times.",
    parameters=Given,
    answer=Result,
    run=run,
    acts=True,
    reads=("agent_lifecycle", "orchestrator_task", "specs_task", "launch_hold", "supervisor_lease"),
    writes=(
        "agent_restart_log",
        "agent_lifecycle",
        "orchestrator_task",
        "specs_task",
        "agent_message",
        "supervisor_lease",
        "event",
        "error_events",
        "launch_hold",
        "metrics",
    ),
    rules=("CFR-000", "CFR-014"),
    errors=(AgentNotFound, MaxRetriesExceeded, NonRetryable, IllegalTransition, SpawnFailed),
    criteria=(
        "Delays of 2, 4, 8 s and so on, never above the cap, counted from the exit.",
        "Each restart is a row of agent_restart_log, each agent a row of its own; the old one stays.",
        "What trying again does not mend is refused, and its task waits for a person.",
    ),
    related=("monitor-agent-lifecycle", "kill-stalled-agent", "handle-agent-errors", "spawn-agent-session"),
    differs=(
        "A supervisor restarts what fails by itself; this command gives other terms, or acts where nobody supervises.",
        "A live agent is ended gracefully first, and started again at once.",
        "restart_all_failed brings forward what waits, and counts restarts from nought, as a person does.",
        "A delay of more than 30 s is not waited for: new_agent_id is null then.",
    ),
    examples=(
        Example("What may come next for an agent that failed.", {"ACTION": "check_status", "AGENT_ID": "{failed}"}),
        Example("Its task gets a new agent after the delay.", {"AGENT_ID": "{failed}", "INITIAL_BACKOFF_SECONDS": "1"}),
        Example("Everything that waits for its restart.", {"ACTION": "restart_all_failed"}),
        Example("Nobody of that name.", {"AGENT_ID": "scripted-19700101-001"}),
    ),
)
