"""``analytics``: how the workflows do: metrics against targets, bottlenecks, forecast, alerts, incidents."""

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from .shape import Call, Result, tool


class AnalyticsResult(Result):
    pass


async def analytics(
    call: Call,
    action: Literal[
        "metrics", "bottlenecks", "forecast", "alerts", "alert_administrators", "incident_report", "feedback"
    ] = "metrics",
    project_id: str = "",
    hours: Annotated[float, Field(gt=0, le=8784, description="metrics: of the last hours")] = 24.0,
    reason: Annotated[str, Field(description="alert_administrators, incident_report")] = "",
    details: str = "",
    rating: Literal["", "positive", "neutral", "negative"] = "",
) -> AnalyticsResult:
    return AnalyticsResult(action=action)


def lead_tool() -> Tool:
    return tool(
        analytics,
        name="analytics",
        description="Workflow metrics against targets, bottlenecks, completion forecast, alerts, incident reports, feedback.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
    )
