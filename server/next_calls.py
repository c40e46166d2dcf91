"""The next step as it is told: a call of a tool, and for whoever sits at a terminal the command line in its place.

A model calls tools, a person types commands. Hints are written as calls, ``agents(action='log', agent_id='x')``, so
that a test can check each against the tools; what a person can type instead is data here.
"""

import ast
import re
import shlex
from typing import Any

TOOLS = (
    "plan", "assign", "agents", "worktrees", "route", "detect_deadlocks", "handle_agent_errors", "why", "report",
    "monitor_resource_usage", "generate_activity_summary",
)  # fmt: skip
# By tool and action; an argument that was not given is left out with its option, a placeholder stands as it is.
COMMAND_LINES: dict[tuple[str, str], str] = {
    ("why", ""): "crewyard why {subject}",
    ("plan", "show"): "crewyard plan show",
    ("plan", "import"): "crewyard plan import {path}",
    ("plan", "export"): "crewyard plan export",
    ("plan", "update"): "crewyard command coordinate-dependencies TASK_ID={task_id} NEW_STATUS={new_status}",
    ("assign", "assign"): "crewyard run {plan}",
    ("assign", "find"): "crewyard command find-available-work",
    ("assign", "resume"): "crewyard run {plan}",
    ("agents", "list"): "crewyard status",
    ("agents", "health"): "crewyard status",
    ("agents", "log"): "crewyard logs {agent_id}",
    ("agents", "spawn"): "crewyard command spawn-agent-session TASK_ID={task_id}",
    ("agents", "restart"): "crewyard command auto-restart-agent AGENT_ID={agent_id}",
    ("agents", "kill"): "crewyard command kill-stalled-agent AGENT_ID={agent_id}",
    ("detect_deadlocks", "detect"): "crewyard command detect-deadlocks",
    ("handle_agent_errors", "detect"): "crewyard command handle-agent-errors",
    ("handle_agent_errors", "handle"): "crewyard command handle-agent-errors ACTION=handle ERROR_ID={error_id}",
    ("detect_deadlocks", ""): "crewyard command detect-deadlocks",
    ("handle_agent_errors", ""): "crewyard command handle-agent-errors",
    ("monitor_resource_usage", ""): "crewyard command monitor-resource-usage",
    ("generate_activity_summary", ""): "crewyard command generate-activity-summary",
    ("worktrees", "list"): "crewyard worktrees",
    ("worktrees", "queue"): "crewyard status",
    ("worktrees", "create"): "crewyard command create-worktree TASK_ID={task_id}",
    ("worktrees", "merge"): "crewyard worktrees approve {task_id}",
    ("worktrees", "cleanup"): "crewyard command cleanup-worktrees TASK_ID={task_id}",
}
PLACEHOLDERS = {
    "subject": "ID",
    "path": "PLAN",
    "plan": "PLAN",
    "agent_id": "AGENT",
    "task_id": "TASK",
    "error_id": "ERROR",
}
_CALL = re.compile(rf"\b({'|'.join(TOOLS)})\(([^()]*)\)")


def call(tool: str, **arguments: Any) -> str:
    """The call as it is written in a hint."""
    return f"{tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def found_in(text: str) -> list[str]:
    """The calls that a text names."""
    return [match[0] for match in _CALL.finditer(text)]


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """A call's tool and arguments; what stands for a value (``TASK``, ``…``) is given as None. Raises ValueError."""
    match = _CALL.fullmatch(text)
    if match is None:
        raise ValueError(text)
    given = re.sub(r"=(true|false)\b", lambda found: f"={found[1].capitalize()}", match[2])
    given = given.replace("[…]", "None").replace("…", "None")
    if not given.strip() or given.strip() == "None":
        return match[1], {}
    try:
        node = ast.parse(f"f({given})", mode="eval").body
    except SyntaxError as error:
        raise ValueError(text) from error
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError(text)
    return match[1], {str(each.arg): _value(each.value) for each in node.keywords}


def command_line(text: str) -> str | None:
    """What a person types in place of a call; None where there is no such command."""
    try:
        tool, given = parsed(text)
    except ValueError:
        return None
    line = COMMAND_LINES.get((tool, str(given.get("action") or "")))
    if line is None or (tool, given.get("approve", True)) == ("worktrees", False):
        return None
    known = {name: shlex.quote(str(value)) for name, value in given.items() if value is not None}
    return line.format_map({**PLACEHOLDERS, "new_status": "STATUS", **known})


def for_terminal(text: str) -> str:
    """A hint in which every call that has a command line is written as that."""

    def typed(match: re.Match[str]) -> str:
        line = command_line(match[0])
        return match[0] if line is None else f"`{line}`"

    return _CALL.sub(typed, text)


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:  # a name that stands for a value
        return None
