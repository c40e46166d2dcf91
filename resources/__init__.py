"""The resources: everything that can be read by URI, and changes nothing (contract 4)."""

from mcp.server.mcpserver import MCPServer

from ..server.yard import Yard
from . import agents, events, messages, plan, status


def register(app: MCPServer[Yard], yard: Yard) -> None:
    """The lead reads all of it; an agent the plan and its own mail."""
    modules = (plan, messages) if yard.is_workers else (status, agents, plan, events, messages)
    for module in modules:
        module.register(app, yard)
