"""The resources: everything that can be read by URI, and changes nothing (contract 4)."""

from types import ModuleType

from mcp.server.mcpserver import MCPServer

from ..server.subscriptions import Sight
from ..server.yard import Yard
from . import agents, events, messages, plan, status, summary, workflows

FOR_WORKER = (plan, messages)
FOR_LEAD = (status, agents, plan, events, messages, summary)
LEADS_ALONE = (
    "status",
    "merges",
    "agents",
    "events",
    "summary.md",
    "projects",
    "queues",
)  # the first word behind crewyard://


def register(app: MCPServer[Yard], yard: Yard) -> None:
    for module in _modules(yard):
        module.register(app, yard)


def sights(yard: Yard) -> dict[str, Sight]:
    """How to see that a resource changes, by the template of its URI."""
    return {template: sight for module in _modules(yard) for template, sight in module.SIGHTS.items()}


def _modules(yard: Yard) -> tuple[ModuleType, ...]:
    """The lead reads all of it, projects and queues where there are workflows; an agent the plan and its own mail."""
    if yard.is_workers:
        return FOR_WORKER
    return FOR_LEAD if yard.settings.workflows is None else (*FOR_LEAD, workflows)
