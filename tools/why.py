"""``why``: what something waits for, and the call that helps."""

from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ..server import clock
from ..server import why as domain
from ..server.wording import cut
from .shape import Call, Result, tool, yard_of


class WhyResult(Result):
    subject: str
    subject_type: str
    because: str
    next_call: str


async def why(
    call: Call, subject: Annotated[str, Field(description="id of a task, agent, message, dispatch or merge")]
) -> WhyResult:
    yard = yard_of(call)
    answer = await yard.store.read(domain.explain, subject, now=clock.now(), bounds=yard.bounds)
    return WhyResult(
        action="why",
        subject=answer.subject,
        subject_type=answer.subject_type,
        because=cut(answer.because, 4_000),
        next_call=answer.next_call,
    )


def lead_tool() -> Tool:
    return tool(
        why,
        name="why",
        description="Explain why a task, agent, message or merge does not run, merge or arrive (stuck, blocked, "
        "waiting), and what to call next.",
        hints=ToolAnnotations(read_only_hint=True, idempotent_hint=True),
    )
