"""What a client offers its user to pick from: slash commands as MCP prompts, and ids while they are being typed.

An error is the protocol's own, with our text; a wrong name is refused with what would be right.
"""

from collections.abc import Collection, Sequence
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from mcp.types import (
    INVALID_PARAMS,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    PromptReference,
    TextContent,
)

from . import clock, ids, recipients, replies
from .errors import CrewyardError, InvalidInput
from .identity import Caller
from .slash_commands import SlashCommand, Standing
from .store import Transaction
from .yard import Yard

MOST = 100  # the protocol's own limit
KINDS = {
    "task_id": ids.TASKS,
    "agent_id": ids.AGENTS,
    "message_id": ids.MESSAGES,
    "project_id": ids.PROJECTS,
    "repo_url": ids.REPOSITORIES,
    "worker_id": ids.WORKERS,
}
Context = ServerRequestContext[Any, Any]


class Offers:
    """Serves ``commands``, and completes their arguments and those of the resources of ``templates`` that hold ids."""

    def __init__(self, yard: Yard, commands: Sequence[SlashCommand], templates: Collection[str]) -> None:
        self._yard = yard
        self._commands = {command.name: command for command in commands}
        self._templates = templates

    def serve(self, server: Server[Any]) -> None:
        server.add_request_handler("prompts/list", PaginatedRequestParams, self._list)
        server.add_request_handler("prompts/get", GetPromptRequestParams, self._get)
        server.add_request_handler("completion/complete", CompleteRequestParams, self._complete)

    async def _list(self, _: Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
        return ListPromptsResult(
            prompts=[
                Prompt(
                    name=each.name,
                    title=each.title,
                    description=each.description,
                    arguments=[
                        PromptArgument(name=of.name, description=of.description, required=of.required)
                        for of in each.arguments
                    ],
                )
                for each in self._commands.values()
            ]
        )

    async def _get(self, _: Context, params: GetPromptRequestParams) -> GetPromptResult:
        try:
            command = self._command(params.name)
            given = _given(command, params.arguments or {})
            await self._yard.supervised()
            caller = await self._yard.caller()
            text = await self._yard.read(
                caller, command.text, given, Standing(self._yard.bounds, clock.now(), clock.uptime())
            )
        except CrewyardError as error:
            raise MCPError(INVALID_PARAMS, error.as_text) from error
        message = PromptMessage(role="user", content=TextContent(text=text))
        return GetPromptResult(description=command.description, messages=[message])

    async def _complete(self, _: Context, params: CompleteRequestParams) -> CompleteResult:
        try:
            name = params.argument.name
            if name not in (known := self._arguments(params)):
                raise replies.unknown_argument("What is to be completed", name, list(known))
            caller = await self._yard.caller()
            begins = params.argument.value
            found = ids.among(known[name], begins)
            if (kind := KINDS.get(name)) is not None:
                found = await self._yard.read(caller, _readable, kind, begins, caller)
        except CrewyardError as error:
            raise MCPError(INVALID_PARAMS, error.as_text) from error
        values = [each for each, _ in found.shown]
        return CompleteResult(
            completion=Completion(values=values, total=found.total, has_more=found.total > len(values))
        )

    def _arguments(self, params: CompleteRequestParams) -> dict[str, Collection[str]]:
        """What can be filled in there, with the values that are known beforehand. Raises InvalidInput where this
        server has no such thing."""
        if isinstance(params.ref, PromptReference):
            return {each.name: each.values for each in self._command(params.ref.name).arguments}
        if params.ref.uri not in self._templates:
            raise InvalidInput(
                f"There is no resource {params.ref.uri[:80]!r}.", hint=f"Known: {', '.join(self._templates)}."
            )
        return dict.fromkeys(UriTemplate.parse(params.ref.uri).variable_names, ())

    def _command(self, name: str) -> SlashCommand:
        if name not in self._commands:
            raise replies.unknown("prompt", name, list(self._commands))
        return self._commands[name]


def _given(command: SlashCommand, arguments: dict[str, str]) -> dict[str, str]:
    """What was given of the command's arguments. Raises InvalidInput for others, and for one that is missing."""
    known = [each.name for each in command.arguments]
    for name in arguments:
        if name not in known:
            raise replies.unknown_argument(command.name, name, known)
    given = {name: text for name, value in arguments.items() if (text := value.strip())}
    for each in command.arguments:
        if each.required and each.name not in given:
            raise InvalidInput(f"{command.name} needs {each.name}: {each.description}.", argument=each.name)
    return given


def _readable(tx: Transaction, kind: ids.Kind, begins: str, caller: Caller) -> ids.Found:
    """An agent is told of its own mail only, as with the resource."""
    boxes = None if caller.is_lead else recipients.mailboxes(tx, caller.name)
    return ids.beginning(tx, kind, begins, limit=MOST, boxes=boxes)
