"""``monitor-resource-usage``: how full the machine is, what each agent uses, and how both went (R-148 to R-152)."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from .. import agents, clock, health, holds, machine, samples, shortages
from ..health import Measured, Seen
from ..identity import Caller
from ..machine import Machine, Space
from ..samples import History
from ..shortages import Shortage
from ..store import Row
from ..yard import Yard
from .base import Answer, Command, Example, Parameters

Action = Literal["check", "per_agent", "history"]
LONGEST_MINUTES = samples.MOST_SHOWN * 24 * 60


class Given(Parameters):
    action: Annotated[Action, Field(description="the machine, what each agent uses, or samples over a time")] = "check"
    time_range_minutes: Annotated[int, Field(ge=1, le=LONGEST_MINUTES, description="history: how far back")] = 60
    check_interval_seconds: Annotated[int, Field(ge=1, description="check: when you will look again")] = 30


class Critical(BaseModel):
    """What the machine is short of, and what is done about it (R-152)."""

    code: str = shortages.CRITICAL
    resource: str
    message: str
    action_taken: str


class AgentUsage(BaseModel):
    """``cpu_percent`` of all cores, ``memory_mb`` resident: of all processes of the agent's tree together."""

    agent_id: str
    pid: int | None
    cpu_percent: float
    memory_mb: float
    processes: int
    threads: int
    status: str


class Resources(Answer):
    """What the action has to tell; sizes are MiB. ``reasons`` say why no further agent is started."""

    cpu: dict[str, Any] | None = None
    memory: dict[str, Any] | None = None
    disk: dict[str, Any] | None = None
    can_spawn_agents: bool | None = None
    reasons: list[str] | None = None
    critical: list[Critical] | None = None
    next_check_in_seconds: int | None = None
    agents: list[AgentUsage] | None = None
    totals: dict[str, float] | None = None
    overall_status: str | None = None
    samples: list[dict[str, Any]] | None = None
    trends: dict[str, str] | None = None
    step_seconds: int | None = None

    @model_serializer(mode="wrap")
    def _of_the_action_only(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


async def run(yard: Yard, caller: Caller, given: Given) -> Resources:
    match given.action:
        case "check":
            return await check(yard, caller, next_check_in_seconds=given.check_interval_seconds)
        case "per_agent":
            return await per_agent(yard, caller)
        case "history":
            return await history(yard, caller, given.time_range_minutes)


async def check(yard: Yard, caller: Caller, *, next_check_in_seconds: int | None = None) -> Resources:
    """The machine at this moment, and the very decision by which the dispatcher launches."""
    room = await yard.operations.room()
    held = await yard.read(caller, holds.on_all, clock.now())
    reasons = [each.message for each in room.refusals] + [row["message"] for row in held]
    return Resources(
        **shown(room.seen),
        can_spawn_agents=not reasons,
        reasons=reasons,
        critical=[_critical(each) for each in room.short_of],
        next_check_in_seconds=next_check_in_seconds,
    )


async def per_agent(yard: Yard, caller: Caller) -> Resources:
    """What the whole process tree of each live agent uses at this moment, the largest first."""
    rows = await yard.read(caller, agents.live)
    measured = await yard.operations.measure([row["agent_id"] for row in rows])
    found = [_usage(row, measured[row["agent_id"]], yard) for row in rows]
    found.sort(key=lambda each: (-each.cpu_percent, -each.memory_mb, each.agent_id))
    levels = [each.status for each in found]
    return Resources(
        agents=found,
        totals={
            "agents": len(found),
            "cpu_percent": _sum(found, lambda each: each.cpu_percent),
            "memory_mb": _sum(found, lambda each: each.memory_mb),
            "processes": sum(each.processes for each in found),
            "threads": sum(each.threads for each in found),
        },
        overall_status=machine.worst(levels),
    )


async def history(yard: Yard, caller: Caller, minutes: int) -> Resources:
    found: History = await yard.read(caller, samples.history, minutes, now=clock.now())
    return Resources(samples=found.samples, trends=found.trends, step_seconds=found.step_seconds)


def shown(seen: Machine) -> dict[str, Any]:
    """The machine by the names of R-151."""
    levels = {name: machine.level(percent) for name, percent in seen.percents.items()}
    cpu = {
        "overall_percent": round(seen.cpu_percent, 1),
        "per_core": [round(percent, 1) for percent in seen.per_core],
        "load_average": [round(load, 2) for load in seen.load_average],
        "status": levels["cpu"],
    }
    disk = _space(seen.disk, levels["disk"])
    disk["free"] = disk.pop("available")
    memory = {"virtual": _space(seen.memory, levels["memory"]), "swap": _space(seen.swap, levels["swap"])}
    return {"cpu": cpu, "memory": memory, "disk": disk, "overall_status": machine.worst(levels.values())}


def _space(space: Space, status: str) -> dict[str, Any]:
    return {name: round(value, 1) for name, value in vars(space).items()} | {"status": status}


def _critical(found: Shortage) -> Critical:
    return Critical(resource=found.resource, message=found.message, action_taken=found.action_taken)


def _usage(row: Row, measured: Measured, yard: Yard) -> AgentUsage:
    seen = Seen(
        measured.process_alive, 0.0, measured.cpu_percent, measured.memory_mb, memory_limit_mb=row["memory_limit_mb"]
    )
    return AgentUsage(
        agent_id=row["agent_id"],
        pid=row["pid"],
        cpu_percent=round(measured.cpu_percent or 0.0, 1),
        memory_mb=round(measured.memory_mb or 0.0, 1),
        processes=measured.processes,
        threads=measured.threads,
        status=health.load_level(seen, yard.settings.health),
    )


def _sum(found: list[AgentUsage], of: Callable[[AgentUsage], float]) -> float:
    return round(sum(of(each) for each in found), 1)


COMMAND = Command(
    name="monitor-resource-usage",
    purpose="See how full the machine is, whether another agent may start, and what each agent uses.",
    parameters=Given,
    answer=Resources,
    run=run,
    reads=("agent_lifecycle", "launch_hold", "metrics"),
    rules=("CFR-014",),
    criteria=(
        "Levels: warning from 70 %, critical from 80 %, severe from 95 %, each with its border.",
        "can_spawn_agents is the decision that the dispatcher launches by, with its reasons.",
        "An agent's figures are those of its whole process tree; 100 % of the CPU are all cores.",
        "History holds what the supervisor sampled; older samples are means of five minutes, then of hours.",
    ),
    related=("spawn-agent-session", "monitor-agent-lifecycle", "generate-activity-summary"),
    examples=(
        Example("The machine now.", {"ACTION": "check"}),
        Example("What each agent uses.", {"ACTION": "per_agent"}),
        Example("The last hour.", {"ACTION": "history", "TIME_RANGE_MINUTES": "60"}),
    ),
)
