"""``report``: an agent tells how its own work stands. Its word is heard; evidence completes a task (contract 7)."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ..server import clock
from ..server.errors import InvalidInput
from ..server.workflows import flow
from .shape import Call, Result, tool, yard_of

MAX_SUMMARY = 8_000


class ReportResult(Result):
    agent_id: str


async def report(
    call: Call,
    action: Literal["progress", "complete", "failed", "blocked", "question"] = "progress",
    summary: Annotated[str, Field(description="what was done, or what is in the way")] = "",
    no_change: Annotated[bool, Field(description="complete: nothing was to be changed")] = False,
    output: Annotated[dict[str, Any] | None, Field(description="where the task asks for it")] = None,
) -> ReportResult:
    if action in ("failed", "blocked", "question") and not summary.strip():
        raise InvalidInput(f"{action} needs a summary.", hint="Say in a sentence what is in the way.")
    if len(summary) > MAX_SUMMARY:
        raise InvalidInput(
            f"The summary has {len(summary)} characters; {MAX_SUMMARY} is the limit.", hint="Keep it short."
        )
    if no_change and action != "complete":
        raise InvalidInput("no_change belongs to complete.", hint="report(action='complete', no_change=True)")
    yard = yard_of(call)
    caller = await yard.caller()
    word = flow.Word(caller.name, action, summary, no_change, output)
    await yard.run(caller, flow.report, yard.settings.workflows, word, now=clock.now())
    note = (
        "End now, your work committed unless you were told that it is done for you; it is checked and merged then."
        if action == "complete"
        else None
    )
    return ReportResult(action=action, agent_id=caller.name, note=note)


def worker_tool() -> Tool:
    return tool(
        report,
        name="report",
        description="Report on your own task: progress, complete (done), failed, blocked, or a question to the lead.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
    )
