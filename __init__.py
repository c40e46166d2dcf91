"""Crewyard: an MCP server with which a lead coding agent runs a crew of coding agents in parallel."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server.invoker import ClaudeAgentInvoker
    from .server.message_queue import MessageQueue

__version__ = "0.1.0"
__all__ = ["ClaudeAgentInvoker", "MessageQueue"]


def __getattr__(name: str) -> Any:
    """What programs import, loaded when it is asked for: a command pays for nothing that it does not use."""
    if name == "MessageQueue":
        from .server.message_queue import MessageQueue

        return MessageQueue
    if name == "ClaudeAgentInvoker":
        from .server.invoker import ClaudeAgentInvoker

        return ClaudeAgentInvoker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
