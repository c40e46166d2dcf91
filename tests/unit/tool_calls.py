"""Whether a call that a hint names is one that the tools take, and its command line one that can be typed."""

import shlex
from typing import Any

import typer
from pydantic import ValidationError

from crewyard.server import commands, next_calls
from crewyard.server.cli import app
from crewyard.server.errors import CrewyardError
from crewyard.server.workflow_commands import lines
from crewyard.tools import agents, for_approver, for_lead, for_worker, for_workflows

STAGES = ("genesis", "development", "content", "WORKFLOW")
FITTING = {
    "force": True, "approve": True, "task_ids": ["X"], "message_ids": ["X"], "output": {}, "exit": "retry",
}  # fmt: skip
PLACEHOLDER = "PLACEHOLDER"  # where a hint leaves the value to its reader


# typer brings its own copy of click, or uses the one that is installed.
REFUSAL = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def fault_of(text: str) -> str | None:
    """What is wrong with a call; None where some tool takes it as it stands."""
    try:
        name, given = next_calls.parsed(text)
    except ValueError:
        return f"{text} is no call"
    tools = [tool for tool in (*for_lead(), *for_worker(), *for_approver(), *for_workflows()) if tool.name == name]
    faults = [_fault(tool, {key: _filled(key, value) for key, value in given.items()}) for tool in tools]
    if not tools or all(faults):
        return f"{text}: {faults or 'there is no such tool'}"
    taken = agents.TAKES.get(str(given.get("action")), set())
    if name == "agents" and (others := set(given) - {"action"} - taken):
        return f"{text}: {given['action']} takes no {others}"
    return None


def fault_of_line(call: str) -> str | None:
    """What is wrong with what a person types in place of a call."""
    line = next_calls.command_line(call)
    if line is None:
        return f"{call}: a person at a terminal cannot do that"
    typed = line.replace("STATUS=STATUS", "STATUS=ready").replace("STRATEGY=STRATEGY", "STRATEGY=ours")
    fault = fault_of_typed(typed)
    return fault and f"{call}: {fault}"


def fault_of_typed(line: str) -> str | None:
    """What is wrong with a command line of ours; None where it is taken as it stands."""
    words = shlex.split(line)
    try:
        if words[1] == "command" and words[2:]:
            commands.get(words[2]).given(dict(word.split("=", 1) for word in words[3:]))
        elif words[1] == "workflow" and words[2:]:
            lines.read(" ".join(words[2:]), STAGES)
        else:
            _parsed(words[1:])
    except (CrewyardError, REFUSAL) as error:
        return f"`{line}`: {error}"
    return None


def _parsed(words: list[str]) -> None:
    """Raises REFUSAL where the command line knows no such command or argument."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("crewyard", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        if words[0] not in command.commands and not words[0].startswith("-"):
            raise REFUSAL(f"There is no command {words[0]!r}.")
        name, command, words = command.resolve_command(context, words)
        if command is None or (hasattr(command, "commands") and not words):
            return
    command.make_context(name, words, parent=context)


def _filled(name: str, value: Any) -> Any:
    return FITTING.get(name, PLACEHOLDER) if value is None else value


def _fault(tool: Any, given: dict[str, Any]) -> str | None:
    if unknown := set(given) - set(tool.parameters["properties"]):
        return f"it takes no {', '.join(sorted(unknown))}"
    try:
        tool.fn_metadata.arg_model.model_validate(given)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return None
