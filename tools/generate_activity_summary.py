"""``generate_activity_summary``: what the crew has done, what held it up, and what to do about it (R-153 to R-157)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import anyio.to_thread
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ..server import activity, clock, summary, summary_files, summary_levels, summary_markdown
from ..server.wording import cut
from .shape import BUDGET, Call, Result, refuse_others, text_of, tool, yard_of

Action = Literal["summary", "detailed", "export"]
Range = Literal["last_1h", "last_24h", "last_7d", "all"]
Form = Literal["markdown", "json"]
TAKES: Mapping[str, tuple[str, ...]] = {"summary": (), "detailed": (), "export": ("export_path",)}
LENGTHS = (50, 20, 8, 3, 0)
MORE = "Cut to fit; action='export' writes all of it, and crewyard://summary.md shows the last 24 hours."


class SummaryResult(Result):
    text: str | None = None
    report: dict[str, Any] | None = None
    report_path: str | None = None
    file_size_kb: float | None = None


async def generate_activity_summary(
    call: Call,
    action: Action = "summary",
    time_range: Range = "last_24h",
    output_format: Form = "markdown",
    export_path: Annotated[str, Field(description="in the repository, or absolute")] = "",
) -> SummaryResult:
    refuse_others(action, TAKES, {"export_path": export_path})
    yard = yard_of(call)
    found = await yard.store.read(
        activity.of_range, time_range, approvals=not yard.settings.merge.auto_approve, now=clock.now()
    )
    if action == "export":
        suffix = ".json" if output_format == "json" else ".md"
        written = await anyio.to_thread.run_sync(
            summary_files.export, yard.root, yard.paths.own, export_path, found, time_range, "comprehensive", suffix
        )
        return SummaryResult(
            action=action,
            report_path=str(written.report),
            file_size_kb=written.size_kb,
            note=f"Beside it: {', '.join(path.name for path in written.files if path != written.report)}.",
        )
    figures = await anyio.to_thread.run_sync(summary.of, found, time_range)
    if output_format == "json":
        report, is_cut = _fitted(summary_levels.at_level(figures, action))
        return SummaryResult(action=action, report=report, note=MORE if is_cut else None)
    text = summary_markdown.to_markdown(figures, action)
    shown = _lines_that_fit(text)
    return SummaryResult(action=action, text=shown, note=MORE if shown != text else None)


def _lines_that_fit(text: str) -> str:
    """Its beginning, to the last line that fits."""
    while len(text_of(text)) > BUDGET:
        text = text[: len(text) - len(text) // 16 - 1].rpartition("\n")[0] or cut(text, len(text) // 2)
    return text


def _fitted(figures: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The figures with lists as long as there is room for, and whether they were cut."""
    if len(text_of(figures)) <= BUDGET:
        return figures, False
    for length in LENGTHS:
        shown = summary_levels.shortened(figures, length)
        if len(text_of(shown)) <= BUDGET:
            return shown, True
    return summary_levels.core(figures), True


def lead_tool() -> Tool:
    return tool(
        generate_activity_summary,
        name="generate_activity_summary",
        description="Report what the crew has done: tasks, agents, time, cost, bottlenecks, errors, next steps.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
    )
