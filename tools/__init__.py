"""The tools, one file each; who sees which (contract 3)."""

from mcp.server.mcpserver.tools import Tool

from . import agents, assign, plan, report, route, why, worktrees


def for_lead() -> list[Tool]:
    return [
        plan.lead_tool(),
        assign.lead_tool(),
        agents.lead_tool(),
        worktrees.lead_tool(),
        route.route_tool(),
        why.lead_tool(),
    ]


def for_worker() -> list[Tool]:
    return [report.worker_tool(), route.route_tool(), agents.worker_tool(), plan.worker_tool()]
