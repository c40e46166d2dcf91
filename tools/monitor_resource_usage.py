"""``monitor_resource_usage``: how full the machine is, what each agent uses, and how both went (R-148 to R-152)."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ..server.commands import monitor_resource_usage as command
from ..server.commands.monitor_resource_usage import LONGEST_MINUTES, Resources
from .shape import Call, Result, page, refuse_others, tool, yard_of

TAKES: dict[str, set[str]] = {"check": set(), "per_agent": set(), "history": {"time_range_minutes"}}
MOST_AGENTS = 500


class ResourcesResult(Result):
    cpu: dict[str, Any] | None = None
    memory: dict[str, Any] | None = None
    disk: dict[str, Any] | None = None
    overall_status: str | None = None
    can_spawn_agents: bool | None = None
    reasons: list[str] | None = None
    critical: list[dict[str, Any]] | None = None
    agents: list[dict[str, Any]] | None = None
    totals: dict[str, Any] | None = None
    samples: list[dict[str, Any]] | None = None
    trends: dict[str, Any] | None = None


async def monitor_resource_usage(
    call: Call,
    action: Literal["check", "per_agent", "history"] = "check",
    time_range_minutes: Annotated[int | None, Field(ge=1, le=LONGEST_MINUTES, description="default 60")] = None,
) -> ResourcesResult:
    refuse_others(action, TAKES, {"time_range_minutes": time_range_minutes})
    yard = yard_of(call)
    caller = await yard.caller()
    match action:
        case "check":
            return _told(action, await command.check(yard, caller))
        case "per_agent":
            return _told(action, await command.per_agent(yard, caller))
        case "history":
            return _told(action, await command.history(yard, caller, time_range_minutes or 60))


def _told(action: str, found: Resources) -> ResourcesResult:
    told = found.model_dump(mode="json")
    note = None
    if action == "per_agent":
        told["agents"], _ = page(told["agents"], key=lambda each: str(each["agent_id"]), limit=MOST_AGENTS)
        left = len(found.agents or ()) - len(told["agents"])
        note = f"{left} more agents, which use less, are in the totals only." if left else None
    return ResourcesResult(action=action, note=note, **told)


def lead_tool() -> Tool:
    return tool(
        monitor_resource_usage,
        name="monitor_resource_usage",
        description="CPU, memory, disk (MiB) of the machine with alert levels, and whether another agent may start; "
        "usage per agent; history with trends.",
        hints=ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True),
    )
