"""``projects``: what flows through the stages of [workflows]: dispatch it, see how far it is, stop it, go on."""

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from .shape import Call, Cursor, Limit, Result, tool


class ProjectsResult(Result):
    pass


async def projects(
    call: Call,
    action: Literal["status", "dispatch", "trigger", "emergency_stop", "resume"] = "status",
    project_id: Annotated[str, Field(description="or its repository_url")] = "",
    input: Annotated[str, Field(description="dispatch: text, or an issue's URL")] = "",  # noqa: A002
    path: Annotated[str, Field(description="dispatch: a file in the repository")] = "",
    batch: Annotated[bool, Field(description="path lists a project a line, or is JSON")] = False,
    kind: str = "",
    complexity: Literal["", "simple", "standard", "complex"] = "",
    level: Annotated[str, Field(description="urgent, high, normal, low")] = "normal",
    location: str = "",
    workflow: Annotated[str, Field(description="trigger: the stage to begin")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> ProjectsResult:
    return ProjectsResult(action=action)


def lead_tool() -> Tool:
    return tool(
        projects,
        name="projects",
        description="Projects that flow through workflows: dispatch new ones, see status, trigger a stage, stop, resume.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False),
    )
