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
    "monitor_resource_usage", "generate_activity_summary", "projects", "queues", "workers", "analytics",
)  # fmt: skip
# By tool and action, and a strategy where it makes another command of it. Of ``[this|that]`` the first alternative
# stands whose values were given, else the first of them all; of ``[this]`` nothing where its value was not given. A
# value that is to be filled in stands as a placeholder.
_COMMAND = "crewyard command"
_MESSAGES = f"{_COMMAND} route-inter-agent-messages"
_ERRORS = f"{_COMMAND} handle-agent-errors"
_WORKFLOW = "crewyard workflow /"
_ERROR = "[ERROR_ID={error_id}|TASK_ID={task_id}]"
COMMAND_LINES: dict[tuple[str, str], str] = {
    ("why", ""): "crewyard why {subject}",
    ("plan", "show"): "crewyard plan show",
    ("plan", "import"): "crewyard plan import {path}",
    ("plan", "add"): "crewyard plan import {path}",
    ("plan", "export"): "crewyard plan export",
    ("plan", "update"): f"{_COMMAND} coordinate-dependencies TASK_ID={{task_id}} NEW_STATUS={{new_status}}",
    ("assign", ""): "crewyard run {plan}",
    ("assign", "assign"): "crewyard run {plan}",
    ("assign", "find"): f"{_COMMAND} find-available-work",
    ("assign", "resume"): "crewyard run {plan}",
    ("assign", "cancel"): f"{_COMMAND} coordinate-dependencies TASK_ID={{task_id}} NEW_STATUS=cancelled",
    ("agents", "list"): "crewyard status",
    ("agents", "health"): "crewyard status",
    ("agents", "log"): "crewyard logs {agent_id}",
    ("agents", "spawn"): f"{_COMMAND} spawn-agent-session TASK_ID={{task_id}}",
    ("agents", "restart"): f"{_COMMAND} auto-restart-agent AGENT_ID={{agent_id}}",
    ("agents", "restart_failed"): f"{_COMMAND} auto-restart-agent ACTION=restart_all_failed",
    ("agents", "kill"): f"{_COMMAND} kill-stalled-agent AGENT_ID={{agent_id}}",
    ("route", "send"): "crewyard send {target_agent} {content}",
    ("route", "poll"): f"{_MESSAGES} ACTION=deliver",
    ("route", "acknowledge"): f"{_MESSAGES} ACTION=acknowledge MESSAGE_IDS={{message_id}}",
    ("route", "status"): f"{_MESSAGES} ACTION=poll",
    ("detect_deadlocks", ""): f"{_COMMAND} detect-deadlocks",
    ("detect_deadlocks", "detect"): f"{_COMMAND} detect-deadlocks",
    ("detect_deadlocks", "analyze"): f"{_COMMAND} detect-deadlocks ACTION=analyze CYCLE={{cycle}}",
    ("handle_agent_errors", ""): _ERRORS,
    ("handle_agent_errors", "detect"): _ERRORS,
    ("handle_agent_errors", "handle"): f"{_ERRORS} ACTION=handle {_ERROR}",
    ("handle_agent_errors", "recover"): (
        f"{_ERRORS} ACTION=recover {_ERROR} [RECOVERY_STRATEGY={{recovery_strategy}}]"
    ),
    ("handle_agent_errors", "escalate"): f"{_ERRORS} ACTION=escalate {_ERROR}",
    ("monitor_resource_usage", ""): f"{_COMMAND} monitor-resource-usage",
    ("generate_activity_summary", ""): f"{_COMMAND} generate-activity-summary",
    ("worktrees", "list"): "crewyard worktrees",
    ("worktrees", "queue"): "crewyard status",
    ("worktrees", "conflicts"): "crewyard events --kind collision_found",
    ("worktrees", "create"): f"{_COMMAND} create-worktree TASK_ID={{task_id}}",
    ("worktrees", "merge"): "crewyard worktrees approve {task_id}",
    ("worktrees", "resolve"): (
        f"{_COMMAND} merge-completed-work ACTION=resolve_conflicts TASK_ID={{task_id}} CONFLICT_STRATEGY={{strategy}}"
    ),
    ("worktrees", "resolve agent"): f"{_COMMAND} coordinate-dependencies TASK_ID={{task_id}} NEW_STATUS=ready",
    ("worktrees", "cleanup"): f"{_COMMAND} cleanup-worktrees [TASK_ID={{task_id}}|ACTION={{all}}|ACTION={{dry_run}}] "
    "[FORCE_CLEANUP={force}]",
    ("projects", ""): f"{_WORKFLOW}backlog [{{project_id}}]",
    ("projects", "status"): f"{_WORKFLOW}backlog [{{project_id}}]",
    ("projects", "dispatch"): f"{_WORKFLOW}[{{batch}}|dispatch-genesis] [{{input}}|{{path}}]",
    ("projects", "trigger"): f"{_WORKFLOW}trigger-{{workflow}} {{project_id}}",
    ("projects", "emergency_stop"): f"{_WORKFLOW}emergency-stop {{project_id}} [{{why}}]",
    ("projects", "resume"): f"{_WORKFLOW}resume {{project_id}} [{{why}}]",
    ("queues", ""): f"{_WORKFLOW}queues",
    ("queues", "status"): f"{_WORKFLOW}queues [{{workflow}}]",
    ("queues", "assign"): f"{_WORKFLOW}assign {{workflow}} {{project_id}} {{worker_id}}",
    ("queues", "rebalance"): f"{_WORKFLOW}rebalance [{{workflow}}]",
    ("queues", "priority"): f"{_WORKFLOW}priority {{project_id}} {{level}}",
    ("queues", "triage"): f"{_WORKFLOW}priority-triage [{{level}}]",
    ("queues", "review"): f"{_WORKFLOW}review {{project_id}} {{exit}} [workflow={{workflow}}] [{{why}}]",
    ("workers", ""): f"{_WORKFLOW}instances",
    ("workers", "list"): f"{_WORKFLOW}instances [{{workflow}}]",
    ("workers", "health"): f"{_WORKFLOW}[health {{worker_id}}|health-check {{workflow}}]",
    ("workers", "restart"): f"{_WORKFLOW}restart {{worker_id}}",
    ("workers", "restart_failed"): f"{_WORKFLOW}restart-failed-instances",
    ("workers", "scale_up"): f"{_WORKFLOW}[{{emergency}}|scale-up] {{workflow}}",
    ("workers", "scale_down"): f"{_WORKFLOW}scale-down {{workflow}}",
    ("analytics", ""): f"{_WORKFLOW}metrics",
    ("analytics", "metrics"): f"{_WORKFLOW}metrics [{{hours}}]",
    ("analytics", "bottlenecks"): f"{_WORKFLOW}bottlenecks",
    ("analytics", "forecast"): f"{_WORKFLOW}forecast [{{project_id}}]",
    ("analytics", "alerts"): f"{_WORKFLOW}alerts",
    ("analytics", "alert_administrators"): f"{_WORKFLOW}alert-administrators {{reason}} [{{details}}]",
    ("analytics", "incident_report"): f"{_WORKFLOW}incident-report [{{details}}]",
    ("analytics", "feedback"): f"{_WORKFLOW}feedback {{project_id}} {{rating}} [{{details}}]",
}
# What a command calls otherwise than the tool.
VALUES = {
    ("force", True): "true",
    ("all", True): "cleanup_all",
    ("dry_run", True): "list_candidates",
    ("batch", True): "batch-process",
    ("emergency", True): "emergency-scale-up",
}
PLACEHOLDERS = {
    "subject": "ID",
    "path": "PLAN",
    "plan": "PLAN",
    "agent_id": "AGENT",
    "task_id": "TASK",
    "error_id": "ERROR",
    "message_id": "MESSAGE",
    "target_agent": "AGENT",
    "content": "TEXT",
    "cycle": "TASK,TASK",
    "strategy": "STRATEGY",
    "new_status": "STATUS",
    "project_id": "PROJECT",
    "worker_id": "WORKER",
    "workflow": "WORKFLOW",
    "level": "LEVEL",
    "exit": "EXIT",
    "input": "TEXT",
    "reason": "REASON",
    "rating": "RATING",
}
_CHOICE = re.compile(r"\[([^]]*)\]")
_FIELD = re.compile(r"{(\w+)}")
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
    given = re.sub(r"\[…\]|'…'|…", "None", given)
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
    action = str(given.get("action") or "")
    line = COMMAND_LINES.get((tool, f"{action} {given.get('strategy')}"), COMMAND_LINES.get((tool, action)))
    if line is None or (tool, given.get("approve", True)) == ("worktrees", False):
        return None
    known = {name: _typed(name, value) for name, value in given.items() if value is not None and value is not False}
    chosen = _CHOICE.sub(lambda found: _chosen(found[1].split("|"), known), line)
    return chosen.format_map({**PLACEHOLDERS, **known}).rstrip()


def _chosen(alternatives: list[str], known: dict[str, str]) -> str:
    fit = (each for each in alternatives if set(_FIELD.findall(each)) <= set(known))
    return next(fit, alternatives[0] if len(alternatives) > 1 else "")


def _typed(name: str, value: Any) -> str:
    """A value as a shell takes it."""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return shlex.quote(VALUES.get((name, value), str(value)))


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
