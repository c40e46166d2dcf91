"""``monitor-agent-lifecycle``: measure the agents and judge how they stand (R-105 to R-110)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .. import agents, checkups, clock, examining
from ..checkups import Checkup
from ..errors import AgentNotFound, IllegalTransition
from ..identity import Caller
from ..sections import ONE_YEAR, Health
from ..yard import Yard
from .base import Answer, Command, Example, Parameters, required

Action = Literal["check_all", "check_agent", "heartbeat"]
FOLLOW_UP = {
    "completed": "archive: its work is checked and merged",
    "failed": "log and investigate: why(subject=AGENT_ID)",
    "dead": "log and investigate: why(subject=AGENT_ID)",
    "stalled": "kill-stalled-agent",
}


class Given(Parameters):
    action: Annotated[Action, Field(description="what to do")] = "check_all"
    agent_id: Annotated[str | None, Field(description="check_agent, heartbeat: the agent")] = None
    heartbeat_timeout_seconds: Annotated[
        float | None,
        Field(gt=0, le=ONE_YEAR, description="silent so long is stalled; else [health] stale_after_seconds (300)"),
    ] = None
    cpu_threshold_percent: Annotated[float, Field(ge=0, le=100, description="less is shown as idle")] = 0.1
    memory_threshold_mb: Annotated[float, Field(ge=0, description="less is shown as idle")] = 50
    check_interval_seconds: Annotated[
        float, Field(gt=0, le=ONE_YEAR, description="when next_check_in_seconds asks for the next look")
    ] = 30


class Seen(BaseModel):
    agent_id: str
    agent_type: str
    task_id: str | None
    status: str
    pid: int | None
    process_alive: bool
    cpu_percent: float | None
    memory_mb: float | None
    idle: bool | None
    seconds_since_heartbeat: float
    uptime_seconds: float | None
    health_status: str
    reasons: list[str]
    follow_up: str | None


class Result(Answer):
    action: Action


class CheckedAll(Result):
    health_status: str
    agents_checked: int
    agents_healthy: int
    agents_warning: int
    agents_stalled: int
    agents_dead: int
    agents: list[Seen]
    next_check_in_seconds: float


class CheckedOne(Result, Seen):
    pass


class Beaten(Result):
    agent_id: str
    last_heartbeat: str
    next_heartbeat_due: str


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    if given.action == "check_all":
        return await _check_all(yard, caller, given)
    agent_id = required("monitor-agent-lifecycle", given.action, "AGENT_ID", given.agent_id)
    if given.action == "check_agent":
        checked, _ = await _checked(yard, caller, given, agent_id)
        return CheckedOne(action="check_agent", **_seen(checked[0], given).model_dump())
    now = clock.now()
    due = await yard.run(caller, agents.heartbeat, agent_id, now=now)
    return Beaten(action="heartbeat", agent_id=agent_id, last_heartbeat=now, next_heartbeat_due=due)


async def _check_all(yard: Yard, caller: Caller, given: Given) -> CheckedAll:
    checked, standing = await _checked(yard, caller, given)
    count = [each.judged.health for each in checked].count
    return CheckedAll(
        action="check_all",
        health_status=standing,
        agents_checked=len(checked),
        agents_healthy=count("healthy"),
        agents_warning=count("warning"),
        agents_stalled=count("stalled"),
        agents_dead=count("dead"),
        agents=[_seen(each, given) for each in checked],
        next_check_in_seconds=given.check_interval_seconds,
    )


async def _checked(yard: Yard, caller: Caller, given: Given, agent_id: str = "") -> tuple[list[Checkup], str]:
    limits = limits_of(yard.settings.health, given.heartbeat_timeout_seconds)
    checked, standing = await examining.look(yard, agent_id, limits=limits)
    await yard.run(caller, checkups.keep, checked, now=clock.now(), actor=caller.name)
    return checked, standing


def limits_of(usual: Health, stale_after_seconds: float | None) -> Health:
    """The settings' limits, with another time after which an agent is stalled."""
    if stale_after_seconds is None:
        return usual
    warn = min(usual.warn_after_seconds, stale_after_seconds)
    return usual.model_copy(update={"stale_after_seconds": stale_after_seconds, "warn_after_seconds": warn})


def _seen(each: Checkup, given: Given) -> Seen:
    row, cpu, memory = each.row, each.cpu_percent, each.memory_mb
    return Seen(
        **{key: row[key] for key in ("agent_id", "agent_type", "task_id", "status", "pid")},
        process_alive=each.process_alive,
        cpu_percent=None if cpu is None else round(cpu, 1),
        memory_mb=None if memory is None else round(memory, 1),
        idle=None
        if cpu is None or memory is None
        else cpu < given.cpu_threshold_percent and memory < given.memory_threshold_mb,
        seconds_since_heartbeat=round(each.silent_seconds, 3),
        uptime_seconds=each.uptime_seconds,
        health_status=each.judged.health,
        reasons=list(each.judged.reasons),
        follow_up=FOLLOW_UP.get(each.judged.health),
    )


COMMAND = Command(
    name="monitor-agent-lifecycle",
    purpose="Measure the agents' processes and judge how they stand, or give a sign of life for one.",
    parameters=Given,
    answer=Result,
    run=run,
    reads=("agent_lifecycle", "agent_report"),
    writes=("agent_lifecycle", "event"),
    rules=("CFR-014",),
    errors=(AgentNotFound, IllegalTransition),
    criteria=(
        "Each agent's whole process tree is measured; all of them within 5 s.",
        "What was measured stands in agent_lifecycle, each look in event.",
        "A look never changes last_heartbeat: only a heartbeat does.",
    ),
    related=("spawn-agent-session", "kill-stalled-agent", "auto-restart-agent", "monitor-resource-usage"),
    differs=(
        "Silent for 120 s is a warning and for 300 s stalled ([health]); the documents' 120 s can be given.",
        "Little CPU and memory is shown as `idle`; it makes no agent stalled, since waiting for a model looks so too.",
        "Looks are rows of `event` (the documents' agent_lifecycle_events).",
    ),
    examples=(
        Example("All live agents.", {"ACTION": "check_all"}),
        Example("One of them.", {"ACTION": "check_agent", "AGENT_ID": "{agent}"}),
        Example("A sign of life.", {"ACTION": "heartbeat", "AGENT_ID": "{agent}"}),
        Example("Nobody of that name.", {"ACTION": "check_agent", "AGENT_ID": "scripted-19700101-001"}),
    ),
)
