"""The tools, one file each; who sees which (contract 3)."""

from functools import cache

from mcp.server.mcpserver.tools import Tool

from . import (
    agents,
    analytics,
    assign,
    detect_deadlocks,
    generate_activity_summary,
    handle_agent_errors,
    monitor_resource_usage,
    plan,
    projects,
    queues,
    report,
    route,
    why,
    workers,
    worktrees,
)
from .shape import always_loaded


@cache  # the schemas take 35 ms to make, and never change
def for_lead() -> tuple[Tool, ...]:
    return (
        plan.lead_tool(),
        assign.lead_tool(),
        agents.lead_tool(),
        worktrees.lead_tool(),
        route.route_tool(),
        detect_deadlocks.lead_tool(),
        generate_activity_summary.lead_tool(),
        handle_agent_errors.lead_tool(),
        monitor_resource_usage.lead_tool(),
        why.lead_tool(),
    )


@cache
def for_workflows() -> tuple[Tool, ...]:
    """What the lead has besides where `[workflows]` is configured."""
    return (projects.lead_tool(), queues.lead_tool(), workers.lead_tool(), analytics.lead_tool())


@cache
def for_worker() -> tuple[Tool, ...]:
    """Few and small, for one short task: an agent that had to search for `report` first would not report."""
    own = (report.worker_tool(), route.route_tool(), agents.worker_tool(), plan.worker_tool())
    return tuple(always_loaded(tool) for tool in own)


@cache
def for_approver() -> tuple[Tool, ...]:
    """What an agent of an authorized role has beside the other workers' tools (C-12)."""
    return (always_loaded(worktrees.approver_tool()),)
