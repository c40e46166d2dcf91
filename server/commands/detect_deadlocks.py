"""``detect-deadlocks``: tasks, or agents, that wait for each other in a circle (R-121 to R-126, R-092, R-095)."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from .. import clock, deadlock_advice, deadlocks, graph_faults, tasks
from ..circuits import Chain
from ..cycles import show_chain
from ..deadlock_advice import Edge
from ..deadlocks import Deadlocks
from ..errors import InvalidInput, TaskNotFound
from ..identity import Caller
from ..store import Transaction
from ..yard import Yard
from .base import Answer, Command, Example, Listed, Parameters

CHAINS_SHOWN = 25
NAMES_SHOWN = 50
ISSUES_SHOWN = 100


class Given(Parameters):
    action: Literal["detect", "analyze", "validate"] = "detect"
    report_level: Annotated[Literal["summary", "detailed"], Field(description="detailed: with every edge")] = "summary"
    cycle: Annotated[Listed[str], Field(description="analyze: the tasks of one circle, in order")] = Field(
        default_factory=list
    )


class Circle(BaseModel):
    chain: list[str]
    length: int
    affected_tasks: list[str]
    severity: str
    between: Literal["tasks", "agents"]
    edges: list[dict[str, Any]] | None = None


class Suggestion(BaseModel):
    chain: str
    option: str
    action: str
    impact: str
    edge: dict[str, Any]


class Found(Answer):
    deadlocks_found: int | None = None
    total_tasks: int | None = None
    total_dependencies: int | None = None
    graph_acyclic: bool | None = None
    circular_chains: list[Circle] | None = None
    resolution_suggestions: list[Suggestion] | None = None
    tasks_behind: int | None = None
    bound: str | None = None
    cycle_length: int | None = None
    severity: str | None = None
    edges: list[dict[str, Any]] | None = None
    resolution_options: list[dict[str, Any]] | None = None
    valid: bool | None = None
    issues: list[dict[str, Any]] | None = None


async def run(yard: Yard, caller: Caller, given: Given) -> Found:
    if given.action != "analyze" and given.cycle:
        raise InvalidInput(f"{given.action} takes no cycle.", hint="analyze does.", argument="cycle")
    if given.action == "analyze":
        return await yard.read(caller, _analyze, given.cycle)
    if given.action == "validate":
        return await yard.read(caller, _validate)
    asked_before = clock.plus(clock.now(), -yard.settings.health.warn_after_seconds)
    return await yard.read(caller, _detect, asked_before, given.report_level == "detailed")


def _detect(tx: Transaction, asked_before: str, detailed: bool) -> Found:
    found = deadlocks.detect(tx, asked_before=asked_before)
    shown = found.chains[:CHAINS_SHOWN]
    bound = found.among_tasks.bound or found.between_agents.bound
    if bound is None and len(shown) < len(found.chains):
        bound = f"the first {CHAINS_SHOWN} of {len(found.chains)} circles"
    return Found(
        deadlocks_found=len(found.chains),
        total_tasks=found.total_tasks,
        total_dependencies=found.total_dependencies,
        graph_acyclic=found.graph_acyclic,
        circular_chains=[_circle(tx, found, graph, chain, detailed=detailed) for graph, chain in shown],
        resolution_suggestions=[_suggestion(tx, chain, found) for graph, chain in shown if graph == "tasks"],
        tasks_behind=found.behind,
        bound=bound,
    )


def _circle(tx: Transaction, found: Deadlocks, graph: Any, chain: Chain, *, detailed: bool) -> Circle:
    edges = None
    if detailed and graph == "tasks":
        edges = [_shown(edge) for edge in deadlocks.edges_of(tx, chain[: NAMES_SHOWN + 1])]
    elif detailed:
        edges = [_wait(found, pair) for pair in pairwise(chain[: NAMES_SHOWN + 1])]
    return Circle(
        chain=list(chain[:NAMES_SHOWN]) + list(chain[-1:] if len(chain) > NAMES_SHOWN else ()),
        length=len(chain) - 1,
        affected_tasks=sorted(set(chain))[:NAMES_SHOWN],
        severity=deadlock_advice.severity(len(chain) - 1),
        between=graph,
        edges=edges,
    )


def _wait(found: Deadlocks, pair: tuple[str, str]) -> dict[str, Any]:
    wait = found.waits.get(pair)
    kind, said = ("task", f"{pair[0]} depends on {pair[1]}") if wait is None else (wait.kind, wait.said)
    return {"from": pair[0], "to": pair[1], "type": kind, "reason": said}


def _suggestion(tx: Transaction, chain: Chain, found: Deadlocks) -> Suggestion:
    edge, option = deadlocks.cheapest_way_out(tx, chain, found.among_tasks.chains)
    return Suggestion(
        chain=show_chain(list(chain)),
        option=option.option,
        action=option.action,
        impact=option.impact,
        edge=_shown(edge),
    )


def _shown(edge: Edge) -> dict[str, Any]:
    return {"from": edge.blocking, "to": edge.dependent, "type": edge.kind, "reason": edge.reason}


def _analyze(tx: Transaction, cycle: list[str]) -> Found:
    edges, options = deadlocks.analyze(tx, cycle)
    is_deadlock = all(edge.kind == "hard" for edge in edges)
    return Found(
        cycle_length=len(edges),
        severity=deadlock_advice.severity(len(edges)) if is_deadlock else None,
        edges=[_shown(edge) for edge in edges[:NAMES_SHOWN]],
        resolution_options=[vars(option) for option in options],
    )


def _validate(tx: Transaction) -> Found:
    faults = graph_faults.find(tx)
    return Found(
        total_tasks=sum(tasks.counts(tx).values()),
        total_dependencies=int(tx.value("SELECT count(*) FROM specs_task_dependency")),
        valid=not faults,
        issues=[
            {"issue": fault.kind, "tasks": list(fault.tasks)[:NAMES_SHOWN], "message": fault.said}
            for fault in faults[:ISSUES_SHOWN]
        ],
        bound=f"the first {ISSUES_SHOWN} of {len(faults)} issues" if len(faults) > ISSUES_SHOWN else None,
    )


COMMAND = Command(
    name="detect-deadlocks",
    purpose="Find tasks, or agents, that wait for each other in a circle, and the ways out.",
    parameters=Given,
    answer=Found,
    run=run,
    reads=("specs_task", "specs_task_dependency", "agent_lifecycle", "agent_message", "agent_report"),
    rules=("CFR-014",),
    errors=(InvalidInput, TaskNotFound),
    criteria=(
        "Every circle of hard dependencies is found, up to a bound that is told.",
        "Tasks of a circle are never started.",
        "Under two seconds for 100,000 tasks with 300,000 dependencies. Nothing is written.",
    ),
    related=("coordinate-dependencies", "find-available-work", "handle-agent-errors"),
    examples=(Example("All circles."), Example("Whether the graph agrees with itself.", {"ACTION": "validate"})),
)
