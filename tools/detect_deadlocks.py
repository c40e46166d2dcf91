"""``detect_deadlocks``: tasks, or agents, that wait for each other in a circle (R-121 to R-126)."""

from typing import Any, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations

from ..server.commands.detect_deadlocks import Given, run
from .shape import BUDGET, Call, Result, page, refuse_others, tool, yard_of

TAKES = {"detect": ("report_level",), "analyze": ("cycle",), "validate": ()}
KEPT_FOR_CHAINS = 5_000


class DeadlocksResult(Result):
    deadlocks_found: int | None = None
    total_tasks: int | None = None
    total_dependencies: int | None = None
    graph_acyclic: bool | None = None
    circular_chains: list[dict[str, Any]] | None = None
    resolution_suggestions: list[Any] | None = None
    cycle_length: int | None = None
    edges: list[Any] | None = None
    resolution_options: list[Any] | None = None
    valid: bool | None = None
    issues: list[Any] | None = None


async def detect_deadlocks(
    call: Call,
    action: Literal["detect", "analyze", "validate"] = "detect",
    report_level: Literal["summary", "detailed"] | None = None,
    cycle: list[str] | None = None,
) -> DeadlocksResult:
    given = {"report_level": report_level, "cycle": cycle}
    refuse_others(action, TAKES, given)
    yard = yard_of(call)
    asked = Given.model_validate({"ACTION": action} | {k.upper(): v for k, v in given.items() if v is not None})
    whole = (await run(yard, await yard.caller(), asked)).model_dump(exclude_none=True)
    cut_off = [name for name in ("circular_chains", "resolution_suggestions", "edges", "issues") if _fit(whole, name)]
    note = [f"Bounded: {whole['bound']}."] if "bound" in whole else []
    note += [f"{name} is cut." for name in cut_off]
    fields = {name: value for name, value in whole.items() if name in DeadlocksResult.model_fields}
    return DeadlocksResult(action=action, note=" ".join(note) or None, **fields)


def _fit(whole: dict[str, Any], name: str) -> bool:
    """Cut one of the lists to the room that there is for it; returns whether anything was cut."""
    listed = whole.get(name)
    if not listed:
        return False
    budget = KEPT_FOR_CHAINS if name == "circular_chains" else BUDGET - KEPT_FOR_CHAINS
    whole[name], more = page(listed, key=str, limit=len(listed) + 1, budget=budget)
    return more is not None


def lead_tool() -> Tool:
    return tool(
        detect_deadlocks,
        name="detect_deadlocks",
        description="Find circular dependencies, and agents that wait for each other, with ways out.",
        hints=ToolAnnotations(read_only_hint=True, idempotent_hint=True),
    )
