"""``handle-agent-errors``: what went wrong, and what is done about it (R-158 to R-162)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from .. import clock, error_events, recoveries, restarting, why
from ..errors import (
    ErrorNotFound,
    IllegalTransition,
    InvalidInput,
    MaxRetriesExceeded,
    NoAvailableWork,
    NonRetryable,
    ResourceExhaustion,
)
from ..failures import Severity
from ..identity import Caller
from ..recoveries import Escalation, Handled, Means, Recovery, Strategy
from ..store import Row, Transaction
from ..wording import cut
from ..yard import Yard
from .base import Answer, Command, Example, Parameters

START_SECONDS = 10.0
MESSAGE_LENGTH = 400
UNSUPERVISED = "Nobody supervises"
LEVEL_NAMES = {"info": "low", "warning": "medium"}  # the notifications' names for the same (G-16)


def _level(value: Any) -> Any:
    return LEVEL_NAMES.get(value, value) if isinstance(value, str) else value


Level = Annotated[Severity, BeforeValidator(_level)]


class Given(Parameters):
    action: Literal["detect", "handle", "recover", "escalate"] = "detect"
    error_id: Annotated[str | None, Field(description="the error that is meant")] = None
    task_id: Annotated[str | None, Field(description="in place of error_id: the task's last error")] = None
    recovery_strategy: Annotated[
        Strategy, Field(description="as it was; after somebody mended the cause; with another type of agent")
    ] = "automatic_retry"
    escalation_level: Annotated[Level, Field(description="says who is told")] = "high"
    error_threshold: Annotated[int, Field(ge=0, description="the same more often than this is repeated")] = 3
    retry_max: Annotated[int, Field(ge=0, description="recoveries of a task until it goes on")] = 3
    limit: Annotated[int, Field(ge=1, le=500, description="errors listed at most")] = 50
    cursor: Annotated[str | None, Field(description="error_id of the last one of the page before")] = None


class Listed(BaseModel):
    error_id: str
    agent_id: str | None
    task_id: str | None
    error_class: str
    message: str
    severity: str
    retryable: bool
    timestamp: str
    status: str
    recovery_action: str
    occurrences: int
    repeated: bool


class Details(BaseModel):
    attempt: int
    occurrences: int
    message_sent: bool
    next_attempt_at: str | None = None


class Errors(Answer):
    errors_found: int | None = None
    errors: list[Listed] | None = None
    recovery_action: str | None = None
    details: Details | None = None
    new_agent_id: str | None = None
    escalation_level: str | None = None
    escalation_message: str | None = None
    files_affected: list[str] | None = None
    told: list[str] | None = None
    message: str | None = None


async def run(yard: Yard, caller: Caller, given: Given) -> Errors:
    if given.action == "detect":
        return await yard.read(caller, _detect, given)
    if not given.error_id and not given.task_id:
        raise InvalidInput(
            f"{given.action} needs an error_id or a task_id.",
            hint="handle_agent_errors(action='detect') lists the errors.",
            argument="error_id",
        )
    if given.action == "escalate":
        done = await yard.run(
            caller, recoveries.escalate, given.error_id, given.task_id, given.escalation_level, now=clock.now(),
            actor=caller.name,
        )  # fmt: skip
        return _escalated(done)
    means = await _means(yard, caller, given)
    if given.action == "recover":
        recovery = await yard.run(
            caller, recoveries.recover, given.error_id, given.task_id, given.recovery_strategy, means=means,
            now=clock.now(), actor=caller.name,
        )  # fmt: skip
        return await _started(yard, caller, recovery, given.recovery_strategy)
    handled = await yard.run(
        caller, recoveries.handle, given.error_id, given.task_id, threshold=given.error_threshold, means=means,
        now=clock.now(), actor=caller.name,
    )  # fmt: skip
    return await _handled(yard, caller, handled, given)


def _detect(tx: Transaction, given: Given) -> Errors:
    rows = error_events.listed(tx, task_id=given.task_id, before=given.cursor, limit=given.limit)
    if given.error_id:
        rows = [error_events.get(tx, given.error_id)]
    return Errors(
        errors_found=error_events.count(tx, given.task_id),
        errors=[_listed(tx, row, given.error_threshold) for row in rows],
    )


def _listed(tx: Transaction, row: Row, threshold: int) -> Listed:
    times = error_events.occurred(tx, row)
    names = ("error_id", "agent_id", "task_id", "error_class", "severity", "timestamp", "status", "recovery_action")
    return Listed(
        **{name: row[name] for name in names},
        message=cut(row["message"], MESSAGE_LENGTH),
        retryable=bool(row["retryable"]),
        occurrences=times,
        repeated=times > threshold,
    )


async def _means(yard: Yard, caller: Caller, given: Given) -> Means:
    """What the settings give a recovery, once it is clear that an agent of the type could be started."""
    known = [yard.settings.default_agent, *sorted(yard.settings.agents)]
    error = await yard.read(caller, recoveries.meant, given.error_id, given.task_id)
    fallback = await yard.read(caller, recoveries.other_type, error, known)
    if given.action == "recover":
        types = await yard.read(caller, recoveries.types_of, error, given.recovery_strategy, fallback)
        if types:
            await yard.operations.require_fit(types)
    return Means(
        retry_max=given.retry_max,
        grace_seconds=yard.settings.crew.grace_period_seconds,
        fallback=fallback,
        instances=yard.settings.instance_limits.get(fallback or ""),
        everywhere=yard.settings.launch.singleton_scope == "type",
    )


async def _started(yard: Yard, caller: Caller, recovery: Recovery, action: str, **more: Any) -> Errors:
    """Waits a moment for the new agent; the wish is recorded and stays."""
    asked = recovery.asked
    standing = await restarting.launched(yard, asked, START_SECONDS)
    new = standing.new_agent
    message = None
    if new is None:
        before = "It is recorded." if recovery.is_news else "It is recovering already."
        message = f"{before} {await _how_it_stands(yard, caller, asked.task_id)}"
    return Errors(
        recovery_action=action, new_agent_id=None if new is None else new["agent_id"], message=message, **more
    )


async def _how_it_stands(yard: Yard, caller: Caller, task_id: str) -> str:
    """What ``why`` says of a task, and whether anybody goes on with it after this call."""
    found = await yard.read(caller, why.explain, task_id, now=clock.now(), bounds=yard.bounds)
    said = cut(found.because, MESSAGE_LENGTH)
    if yard.is_for_one_call and not await yard.operations.is_supervised() and UNSUPERVISED not in said:
        said += f" {UNSUPERVISED} now; `crewyard start` or `crewyard run` goes on with it."
    return said


async def _handled(yard: Yard, caller: Caller, handled: Handled, given: Given) -> Errors:
    called = handled.escalation
    details = Details(
        attempt=handled.attempt,
        occurrences=handled.occurred,
        message_sent=called is not None and bool(called.told),
        next_attempt_at=handled.next_attempt_at,
    )
    if handled.recovery is not None:
        return await _started(yard, caller, handled.recovery, handled.action, details=details)
    if called is not None:
        return _escalated(called).model_copy(update={"recovery_action": handled.action, "details": details})
    error = await yard.read(caller, recoveries.meant, given.error_id, given.task_id)
    said = await _how_it_stands(yard, caller, error["task_id"])
    return Errors(recovery_action=handled.action, details=details, message=f"Nothing was done. {said}")


def _escalated(done: Escalation) -> Errors:
    return Errors(
        escalation_level=done.level,
        escalation_message=cut(done.message, MESSAGE_LENGTH),
        files_affected=done.files,
        told=done.told,
        message=None if done.told else "Whom this level concerns was told before.",
    )


COMMAND = Command(
    name="handle-agent-errors",
    purpose="List what went wrong with agents and tasks, and recover from it or call a person.",
    parameters=Given,
    answer=Errors,
    run=run,
    reads=("error_events", "agent_lifecycle", "orchestrator_task", "specs_task"),
    writes=(
        "error_events",
        "agent_lifecycle",
        "agent_restart_log",
        "orchestrator_task",
        "specs_task",
        "agent_message",
        "launch_hold",
        "metrics",
        "supervisor_lease",
        "event",
    ),
    rules=("CFR-009", "CFR-014"),
    errors=(
        ErrorNotFound,
        IllegalTransition,
        MaxRetriesExceeded,
        NonRetryable,
        NoAvailableWork,
        ResourceExhaustion,
    ),
    criteria=(
        "Each error is recorded with its class in the transaction that records what it is about.",
        "What is worth another attempt gets one; whatever else is told to whom its severity concerns.",
        "It is resolved in the transaction that shows that its task went on.",
    ),
    related=("auto-restart-agent", "detect-deadlocks", "monitor-agent-lifecycle"),
    examples=(Example("What is not resolved."), Example("Of one task.", {"ACTION": "detect", "TASK_ID": "broken"})),
    acts=True,
)
