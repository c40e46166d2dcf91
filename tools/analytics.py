"""``analytics``: how the workflows do: metrics against targets, bottlenecks, forecast, alerts, incidents."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import anyio.to_thread
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ..server import attention, clock
from ..server.errors import InvalidInput
from ..server.identity import Caller
from ..server.workflows import (
    administrators,
    alarms,
    alert_list,
    bottlenecks,
    feedback,
    figures,
    forecasts,
    incidents,
    measures,
    outlooks,
    projects,
    targets,
)
from ..server.workflows.pipeline import Pipeline
from ..server.yard import Yard
from .shape import BUDGET, Call, Result, page, refuse_others, required, text_of, tool, yard_of

TAKES: Mapping[str, set[str]] = {
    "metrics": {"hours"}, "bottlenecks": {"hours"}, "forecast": {"project_id"}, "alerts": {"hours"},
    "alert_administrators": {"reason", "details"}, "incident_report": {"reason", "details"},
    "feedback": {"project_id", "rating", "details"},
}  # fmt: skip
HOURS = 24.0
MOST = 500
LENGTHS = (20, 8, 3, 1, 0)


class AnalyticsResult(Result):
    period: dict[str, Any] | None = None
    metrics: list[dict[str, Any]] | None = None
    workflows: list[dict[str, Any]] | None = None
    bottlenecks: list[dict[str, Any]] | None = None
    projects: list[dict[str, Any]] | None = None
    accuracy: dict[str, Any] | None = None
    alerts: list[dict[str, Any]] | None = None
    ended: list[dict[str, Any]] | None = None
    issues: list[dict[str, Any]] | None = None
    incident: dict[str, Any] | None = None
    told: list[str] | None = None


async def analytics(
    call: Call,
    action: Literal[
        "metrics", "bottlenecks", "forecast", "alerts", "alert_administrators", "incident_report", "feedback"
    ] = "metrics",
    project_id: str = "",
    hours: Annotated[float | None, Field(gt=0, le=8784, description="default 24")] = None,
    reason: str = "",
    details: str = "",
    rating: Literal["", "positive", "neutral", "negative"] = "",
) -> AnalyticsResult:
    given = {"project_id": project_id, "hours": hours, "reason": reason, "details": details, "rating": rating}
    refuse_others(action, TAKES, given)
    yard, now = yard_of(call), clock.now()
    caller, line = await yard.caller(), _line(yard)
    since = clock.plus(now, -3600 * (hours or HOURS))
    match action:
        case "metrics":
            return await _metrics(yard, line, since, now)
        case "bottlenecks":
            return await _bottlenecks(yard, line, since, now)
        case "forecast":
            return await _forecast(yard, caller, line, project_id, now)
        case "alerts":
            return await _alerts(yard, since)
        case "alert_administrators":
            required(action, "reason", reason, hint="Say why, such as capacity-exceeded.")
            said = (line.settings, reason, details)
            told = await yard.run(caller, administrators.tell, *said, now=now, actor=caller.name)
            return AnalyticsResult(action=action, told=told)
        case "incident_report":
            row = await yard.run(caller, incidents.report, line, reason, details, now=now, actor=caller.name)
            return AnalyticsResult(action=action, incident=_fitted(incidents.told(row)))
        case "feedback":
            required(action, "project_id", project_id, hint="projects(action='status') lists them.")
            required(action, "rating", rating, hint="Give positive, neutral or negative.")
            await yard.run(caller, feedback.give, project_id, rating, details, now=now, actor=caller.name)
            return AnalyticsResult(action=action, note=f"{project_id}: {rating}.")


def _line(yard: Yard) -> Pipeline:
    if yard.settings.workflows is None:
        raise InvalidInput("There are no workflows here.", hint="[workflows] in crewyard.toml configures them.")
    return Pipeline(yard.settings.workflows)


async def _metrics(yard: Yard, line: Pipeline, since: str, now: str) -> AnalyticsResult:
    found = await yard.store.read(measures.of_range, line, since, now)
    rows = [_shown(asdict(each)) for each in targets.metrics(found, line.settings.max_hours)]
    period = {"since": since, "until": now} | ({"simulated": True} if found.is_simulated else {})
    shown, left = _page(rows, BUDGET * 2 // 3)
    stages, more = _page(figures.rows(found), BUDGET // 3)
    return AnalyticsResult(action="metrics", period=period, metrics=shown, workflows=stages, note=_more(left + more))


async def _bottlenecks(yard: Yard, line: Pipeline, since: str, now: str) -> AnalyticsResult:
    found = await yard.store.read(measures.of_range, line, since, now)
    earlier = clock.plus(since, -found.seconds)
    before = await yard.store.read(measures.of_range, line, earlier, since)
    rows, left = _page([asdict(each) for each in bottlenecks.found(found, line, before)], BUDGET)
    note = _more(left) or (None if rows else "Nothing holds projects up, as far as was recorded.")
    return AnalyticsResult(action="bottlenecks", period={"since": since, "until": now}, bottlenecks=rows, note=note)


async def _forecast(yard: Yard, caller: Caller, line: Pipeline, project_id: str, now: str) -> AnalyticsResult:
    if project_id:
        await yard.store.read(projects.get, project_id)
    seen = await yard.store.read(forecasts.situation, line, now=now)
    outlook = await anyio.to_thread.run_sync(seen.outlook)
    await yard.run(caller, forecasts.record, seen, outlook, now=now)
    accuracy = await yard.store.read(forecasts.accuracy, now=now)
    found = outlooks.of_projects(seen, outlook, project_id)
    rows, left = _page(found, BUDGET * 3 // 4)
    note = _more(left, "forecast takes a project_id") or (None if found else "There is nothing to be foretold.")
    return AnalyticsResult(
        action="forecast", projects=rows, workflows=_page(outlooks.of_workflows(seen, outlook), BUDGET // 4)[0],
        accuracy=outlooks.of_accuracy(accuracy), note=note,
    )  # fmt: skip


async def _alerts(yard: Yard, since: str) -> AnalyticsResult:
    standing, ended = await yard.store.read(alarms.open_ones), await yard.store.read(alert_list.ended, since)
    needs = await yard.store.read(attention.needs, auto_approve=yard.settings.merge.auto_approve)
    rows, left = _page([alert_list.told(row) for row in standing], BUDGET // 2)
    past, more = _page([alert_list.told(row) for row in ended], BUDGET // 4)
    issues, others = _page([_shown(asdict(each)) for each in needs], BUDGET // 4)
    note = _more(left + more + others) or (None if rows or issues else "No alert stands.")
    return AnalyticsResult(action="alerts", alerts=rows, ended=past, issues=issues, note=note)


def _page(rows: Sequence[dict[str, Any]], budget: int) -> tuple[list[dict[str, Any]], int]:
    """So many as fit, and how many are left."""
    shown, _ = page(rows, key=lambda _: "", limit=MOST, budget=budget)
    return shown, len(rows) - len(shown)


def _more(left: int, how: str = "") -> str | None:
    return f"{left} more are left out{f'; {how}' if how else ''}." if left else None


def _shown(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None and value != ""}


def _fitted(facts: dict[str, Any]) -> dict[str, Any]:
    """With lists as long as there is room for."""
    for length in LENGTHS:
        shown = {key: value[:length] if isinstance(value, list) else value for key, value in facts.items()}
        if len(text_of(shown)) <= BUDGET:
            break
    return shown


def lead_tool() -> Tool:
    return tool(
        analytics,
        name="analytics",
        description="Workflow metrics against targets, bottlenecks, completion forecast, alerts, incidents, feedback.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
    )
