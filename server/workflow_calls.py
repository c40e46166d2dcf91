"""Carries a slash command of the workflows out for whoever typed it at a terminal: by the tools, as a client has them.

The client is one within this process. Where nobody supervises, what the command asks for is done by a supervisor of its
own, which starts nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.types import TextContent

from . import agents, clock, identity
from .assembly import build_yard
from .errors import InvalidInput, NotAuthorized
from .identity import Caller
from .kills import KILL_SLACK_SECONDS
from .settings import Settings
from .wording import cut
from .workflow_commands import Step, WorkflowCommand, checking, lines
from .workflows import emergencies, incidents
from .workflows.pipeline import Pipeline
from .yard import NoSupervisor, Yard

STOP_SECONDS = 30.0  # what was begun for a command is not broken off with it
SAID_LENGTH = 500


@dataclass(frozen=True)
class Done:
    """A call and its answer; of one that was refused, its code, message and hint."""

    call: str
    answer: dict[str, Any]
    is_refused: bool


@dataclass(frozen=True)
class Outcome:
    """``is_supervised``: a server goes on with what was asked for."""

    command: WorkflowCommand
    done: list[Done]
    is_supervised: bool
    incident_id: int | None = None

    @property
    def is_refused(self) -> bool:
        return all(each.is_refused for each in self.done)

    @property
    def is_whole(self) -> bool:
        return not any(each.is_refused for each in self.done)


def pipeline_of(settings: Settings) -> Pipeline:
    """Raises InvalidInput where there are no workflows."""
    if settings.workflows is None:
        raise InvalidInput(
            "No workflows are configured here.", hint="`crewyard init --workflows` says what to write to crewyard.toml."
        )
    return Pipeline(settings.workflows)


def carry_out(repo: Path, line: str, build_app: Callable[[Yard], MCPServer[Any]]) -> Outcome:
    """Do what was typed. Raises InvalidInput, NotAuthorized and what is not found; then nothing was done."""
    return anyio.run(carried_out, build_yard(repo), line, build_app)


async def carried_out(yard: Yard, line: str, build_app: Callable[[Yard], MCPServer[Any]]) -> Outcome:
    """As ``carry_out``, in a yard that is not open yet."""
    pipeline = pipeline_of(yard.settings)
    command, given = lines.read(line, pipeline.names)
    acts = not command.only_looks and not yard.is_workers
    yard.supervise = yard.operations.supervisor_at_hand if acts else NoSupervisor
    yard.stop_seconds = STOP_SECONDS
    async with yard.opened():
        caller = await _permitted(yard, pipeline, command)
        await yard.read(caller, checking.check, pipeline, command, given)
        if command.is_emergency:
            await yard.run(caller, emergencies.begun, command.name, given, now=clock.now(), actor=caller.name)
        async with Client(build_app(yard)) as client:
            done = [await _called(client, step, given) for step in command.steps]
        if acts:
            await yard.changes.until(partial(_none_is_ending, yard), timeout_seconds=_patience(yard))
        incident_id = await _kept(yard, caller, pipeline, command, given, done)
        return Outcome(command, done, await yard.operations.is_supervised(), incident_id)


async def _permitted(yard: Yard, pipeline: Pipeline, command: WorkflowCommand) -> Caller:
    """Who gives the command. Raises NotAuthorized, and that is recorded, for an agent that may not."""
    asked = (command.name, pipeline.settings.administrators)
    try:
        caller = await yard.caller()
        await yard.read(caller, emergencies.require_permitted, caller, *asked, is_emergency=command.is_emergency)
    except NotAuthorized as error:
        name = error.details.get("agent_id", identity.UNKNOWN)
        await yard.store.run(identity.refused, name, f"/{command.name}", 1, now=clock.now())
        raise
    return caller


async def _called(client: Client, step: Step, given: Mapping[str, Any]) -> Done:
    result = await client.call_tool(step.tool, step.filled(given))
    text = next((each.text for each in result.content if isinstance(each, TextContent)), "")
    return Done(step.as_call(given), result.structured_content or {"message": text}, bool(result.is_error))


async def _none_is_ending(yard: Yard) -> bool | None:
    """Agents that are to end do so before we go, since perhaps nobody else sees to it."""
    return None if await yard.store.read(agents.any_is_ending) else True


def _patience(yard: Yard) -> float:
    return yard.settings.crew.grace_period_seconds + KILL_SLACK_SECONDS


async def _kept(
    yard: Yard,
    caller: Caller,
    pipeline: Pipeline,
    command: WorkflowCommand,
    given: Mapping[str, Any],
    done: list[Done],
) -> int | None:
    """What is left of an emergency for later: an event, and the incident where the command opens one."""
    if not command.is_emergency:
        return None
    steps = [{"call": each.call, "came_of_it": _in_short(each)} for each in done]
    at = {"now": clock.now(), "actor": caller.name}
    await yard.run(caller, emergencies.ended, command.name, steps, **at)
    if not command.opens_incident or all(each.is_refused for each in done):
        return None
    did = [f"{each['call']}: {each['came_of_it']}" for each in steps]
    details = cut(str(given.get("details", "")), incidents.LONGEST)
    row = await yard.run(caller, incidents.report, pipeline, command.name, details, did=did, **at)
    return int(row["incident_id"])


def _in_short(done: Done) -> str:
    if done.is_refused:
        return cut(f"refused: {done.answer.get('code', '')}: {done.answer.get('message', '')}", SAID_LENGTH)
    return cut(str(done.answer.get("note") or done.answer.get("status") or "done"), SAID_LENGTH)
