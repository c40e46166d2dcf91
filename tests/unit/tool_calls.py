"""Whether a call that a hint names is one that the tools take."""

from typing import Any

from pydantic import ValidationError

from crewyard.server import next_calls
from crewyard.tools import agents, for_approver, for_lead, for_worker

PLACEHOLDER = "PLACEHOLDER"  # where a hint leaves the value to its reader


def fault_of(text: str) -> str | None:
    """What is wrong with a call; None where some tool takes it as it stands."""
    try:
        name, given = next_calls.parsed(text)
    except ValueError:
        return f"{text} is no call"
    tools = [tool for tool in (*for_lead(), *for_worker(), *for_approver()) if tool.name == name]
    faults = [_fault(tool, {key: _filled(key, value) for key, value in given.items()}) for tool in tools]
    if not tools or all(faults):
        return f"{text}: {faults or 'there is no such tool'}"
    taken = agents.TAKES.get(str(given.get("action")), set())
    if name == "agents" and (others := set(given) - {"action"} - taken):
        return f"{text}: {given['action']} takes no {others}"
    return None


def _filled(name: str, value: Any) -> Any:
    return (
        {"force": True, "approve": True, "task_ids": [PLACEHOLDER], "message_ids": [PLACEHOLDER]}.get(name, PLACEHOLDER)
        if value is None
        else value
    )


def _fault(tool: Any, given: dict[str, Any]) -> str | None:
    if unknown := set(given) - set(tool.parameters["properties"]):
        return f"it takes no {', '.join(sorted(unknown))}"
    try:
        tool.fn_metadata.arg_model.model_validate(given)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return None
