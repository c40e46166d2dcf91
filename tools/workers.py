"""``workers``: who works in which workflow, how they are, and how many there are."""

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from .shape import Call, Result, tool


class WorkersResult(Result):
    pass


async def workers(
    call: Call,
    action: Literal["list", "health", "restart", "restart_failed", "scale_up", "scale_down"] = "list",
    workflow: Annotated[str, Field(description="or all")] = "",
    worker_id: str = "",
    emergency: Annotated[bool, Field(description="scale_up: beyond the maximum, for a while")] = False,
) -> WorkersResult:
    return WorkersResult(action=action)


def lead_tool() -> Tool:
    return tool(
        workers,
        name="workers",
        description="Workers of the workflows: list, health, restart, scale up or down.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False),
    )
