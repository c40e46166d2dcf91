"""``generate-activity-summary``: what the crew has done in a range of time (R-153 to R-157)."""

from typing import Annotated, Any, Literal

import anyio.to_thread
from pydantic import Field

from .. import activity, clock, summary, summary_files, summary_levels, summary_markdown
from ..errors import InvalidInput
from ..identity import Caller
from ..yard import Yard
from .base import Answer, Command, Example, Parameters


class Given(Parameters):
    time_range: Annotated[
        Literal["last_1h", "last_24h", "last_7d", "all"], Field(description="up to now; all: since the first event")
    ] = "last_24h"
    detail_level: Annotated[
        Literal["summary", "detailed", "comprehensive"],
        Field(description="summary: figures; detailed: with lists of at most 50; comprehensive: with all"),
    ] = "summary"
    output_format: Annotated[Literal["markdown", "json"], Field(description="what the report is written in")] = (
        "markdown"
    )
    export_path: Annotated[
        str, Field(description="writes .md, .json and .svg there: in the repository, or absolute")
    ] = ""


class Summarised(Answer):
    range: dict[str, str]
    summary: dict[str, Any]
    performance: dict[str, Any]
    time_seconds: dict[str, float]
    critical_path: dict[str, Any]
    agents: dict[str, dict[str, Any]]
    usage: dict[str, Any]
    merges: dict[str, int]
    resources: dict[str, Any]
    bottlenecks: list[dict[str, Any]]
    errors: dict[str, Any]
    next_steps: list[str]
    tasks: list[dict[str, Any]] = Field(default_factory=list)
    timeline: list[dict[str, str]] = Field(default_factory=list)
    markdown: str | None = None
    report_path: str | None = None
    file_size_kb: float | None = None


async def run(yard: Yard, caller: Caller, given: Given) -> Summarised:
    waits = not yard.settings.merge.auto_approve
    found = await yard.read(caller, activity.of_range, given.time_range, approvals=waits, now=clock.now())
    figures = await anyio.to_thread.run_sync(summary.of, found, given.time_range)
    shown = summary_levels.at_level(figures, given.detail_level)
    shown.pop("generator")
    report: dict[str, Any] = {}
    if given.export_path:
        written = await anyio.to_thread.run_sync(
            summary_files.export, yard.root, yard.paths.own, given.export_path, found, given.time_range,
            given.detail_level, ".json" if given.output_format == "json" else ".md",
        )  # fmt: skip
        report = {"report_path": str(written.report), "file_size_kb": written.size_kb}
    elif given.output_format == "markdown":
        report = {"markdown": summary_markdown.to_markdown(figures, given.detail_level)}
    return Summarised(**shown, **report)


COMMAND = Command(
    name="generate-activity-summary",
    purpose="Report what the crew has done in a range of time, what held it up, and what to do about it.",
    parameters=Given,
    answer=Summarised,
    run=run,
    reads=(
        "event",
        "specs_task",
        "specs_task_dependency",
        "dispatch",
        "dispatch_task",
        "orchestrator_task",
        "agent_lifecycle",
        "agent_restart_log",
        "merge_request",
        "error_events",
        "metrics.metrics", "supervisor_lease"),
    rules=("CFR-014",),
    errors=(InvalidInput,),
    criteria=(
        "Every figure comes from what was recorded inside the range.",
        "The parts of the tasks' time add up to it; the links of the critical path follow each other without a gap.",
        "A file that is no summary of ours is not overwritten.",
        "Nothing is written to the database.",
    ),
    related=("monitor-resource-usage", "handle-agent-errors", "detect-deadlocks"),
    examples=(
        Example("The last 24 hours as Markdown."),
        Example("All of it as JSON, with every task.", {"TIME_RANGE": "all", "DETAIL_LEVEL": "comprehensive",
                                                        "OUTPUT_FORMAT": "json"}),
    ),
)  # fmt: skip
