"""``queues``: what waits in each workflow and for review; who gets it, and in which order."""

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from .shape import Call, Cursor, Limit, Result, tool


class QueuesResult(Result):
    pass


async def queues(
    call: Call,
    action: Literal["status", "assign", "rebalance", "priority", "triage", "review"] = "status",
    workflow: Annotated[str, Field(description="default: all")] = "",
    project_id: str = "",
    worker_id: str = "",
    level: Annotated[str, Field(description="urgent, high, normal, low")] = "",
    exit: Annotated[Literal["", "retry", "reject", "return"], Field(description="review: how it ends")] = "",  # noqa: A002
    why: str = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> QueuesResult:
    return QueuesResult(action=action)


def lead_tool() -> Tool:
    return tool(
        queues,
        name="queues",
        description="Queues of the workflows and of review: what waits; assign, rebalance, priority, triage, decide reviews.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True),
    )
