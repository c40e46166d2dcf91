"""``handle_agent_errors``: what went wrong, and what is done about it (R-158 to R-162)."""

from typing import Any, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations

from ..server.commands.handle_agent_errors import Given, run
from ..server.failures import Severity
from ..server.recoveries import Strategy
from .shape import Call, Cursor, Result, page, refuse_others, tool, yard_of

TAKES = {
    "detect": ("error_id", "task_id", "cursor"),
    "handle": ("error_id", "task_id"),
    "recover": ("error_id", "task_id", "recovery_strategy"),
    "escalate": ("error_id", "task_id", "escalation_level"),
}


class ErrorsResult(Result):
    errors_found: int | None = None
    errors: list[dict[str, Any]] | None = None
    recovery_action: str | None = None
    details: dict[str, Any] | None = None
    new_agent_id: str | None = None
    escalation_level: str | None = None
    escalation_message: str | None = None
    files_affected: list[str] | None = None


async def handle_agent_errors(
    call: Call,
    action: Literal["detect", "handle", "recover", "escalate"] = "detect",
    error_id: str = "",
    task_id: str = "",
    recovery_strategy: Strategy | None = None,
    escalation_level: Severity | None = None,
    cursor: Cursor = "",
) -> ErrorsResult:
    given = {
        "error_id": error_id or None,
        "task_id": task_id or None,
        "recovery_strategy": recovery_strategy,
        "escalation_level": escalation_level,
        "cursor": cursor or None,
    }
    refuse_others(action, TAKES, given)
    yard = yard_of(call)
    asked = Given.model_validate({"ACTION": action} | {k.upper(): v for k, v in given.items() if v is not None})
    done = await run(yard, await yard.caller(), asked)
    listed = done.errors or []
    shown, more = page(listed, key=lambda each: each.error_id, limit=asked.limit)
    is_open = action in ("handle", "recover") and done.message is not None and done.escalation_level is None
    return ErrorsResult(
        action=action,
        status="partial" if is_open else "success",
        errors_found=done.errors_found,
        errors=None if done.errors is None else [each.model_dump(exclude_none=True) for each in shown],
        recovery_action=done.recovery_action,
        details=None if done.details is None else done.details.model_dump(exclude_none=True),
        new_agent_id=done.new_agent_id,
        escalation_level=done.escalation_level,
        escalation_message=done.escalation_message,
        files_affected=done.files_affected,
        next_cursor=more or (listed[-1].error_id if len(listed) == asked.limit else None),
        note=done.message,
    )


def lead_tool() -> Tool:
    return tool(
        handle_agent_errors,
        name="handle_agent_errors",
        description="List errors of agents and failed tasks; handle one, retry its task, or escalate it to a person.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
    )
