"""The MCP server object: how a call is checked, answered and, where it fails, explained (design 8).

The library ignores unknown arguments and loses an error's code; both are made good here, once for all tools.
"""

import contextlib
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn, cast

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.stdio import stdio_server
from mcp.types import CallToolResult, InputRequiredResult
from mcp.types import Tool as MCPTool
from pydantic import AnyUrl, ValidationError
from starlette.applications import Starlette

from . import clock, identity, messages, recipients, replies
from .errors import CrewyardError, NotAuthorized
from .identity import Caller
from .listening import Listening, Streams
from .offers import Offers
from .refusals import Refusals
from .slash_commands import SlashCommand
from .store import Transaction
from .subscriptions import Sight, Subscriptions
from .yard import Yard

logger = logging.getLogger(__name__)
RESOURCE = re.compile(r"crewyard://([\w.]+)")
QUIET_SECONDS = 1.0  # a client that asks nothing has its work supervised all the same


class Endpoint(MCPServer[Yard]):
    """An MCP server over one yard.

    ``lead_tools`` and ``lead_resources`` (names) tell a worker's server what it refuses, and does not merely lack.

    ``approver_tools`` are for agents of the authorized roles alone, which is known only when one calls (C-12).
    """

    def __init__(
        self,
        yard: Yard,
        tools: Sequence[Tool],
        lead_tools: Sequence[Tool],
        approver_tools: Sequence[Tool] = (),
        lead_resources: Collection[str] = (),
        *,
        sights: Mapping[str, Sight],
        slash_commands: Sequence[SlashCommand] = (),
        **options: Any,
    ) -> None:
        tools = [*tools, *approver_tools]
        super().__init__(tools=tools, lifespan=lambda _server: self._lifespan(), **options)
        self.yard = yard
        self._answered = anyio.Event()
        self._lowlevel_server.middleware.append(self._note_answer)
        self.refusals = Refusals(yard)
        self._lead_resources = lead_resources
        heads = [RESOURCE.match(template) for template in sights]
        self._resources = {*lead_resources, *(found[1] for found in heads if found)}
        self._approvers = {tool.name for tool in approver_tools}
        self._schemas = {tool.name: tool.parameters for tool in tools}
        self._lead_schemas = {tool.name: tool.parameters for tool in lead_tools}
        self._listening = Listening(sights, Subscriptions(yard), self._handle_read_resource)
        self._listening.serve(self._lowlevel_server)
        Offers(yard, slash_commands, sights).serve(self._lowlevel_server)

    @contextlib.asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[Yard]:
        async with self.yard.opened(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._supervise)
            yield self.yard
            tasks.cancel_scope.cancel()

    async def _supervise(self) -> None:
        """The client gets its first answer before: what the supervisor imports, and its first round, would delay it."""
        with anyio.move_on_after(QUIET_SECONDS):
            await self._answered.wait()
        try:
            await self.yard.supervised()
        except CrewyardError as error:  # each call says so, and tries again
            logger.warning("nothing is supervised: %s", error.as_text)
        except Exception:  # the boundary: the server's client is told of it at its next call
            logger.exception("nothing is supervised")

    async def _note_answer(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        answer = await call_next(ctx)
        self._answered.set()
        return answer

    def streamable_http_app(self, **options: Any) -> Starlette:
        app = super().streamable_http_app(**options)
        app.add_middleware(Streams, self._listening)
        return app

    async def list_tools(self) -> list[MCPTool]:
        listed = await super().list_tools()
        with contextlib.suppress(NotAuthorized):  # its agent has ended
            if not self._approvers or (await self.yard.caller()).may_approve:
                return listed
        return [tool for tool in listed if tool.name not in self._approvers]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Yard, Any] | None = None
    ) -> CallToolResult:
        """Call a tool; every failure is a result with a code (see ``replies``)."""
        given = {key: value for key, value in arguments.items() if value is not None}
        caller: Caller | None = None
        try:
            await self.yard.supervised()
            caller = await self.yard.caller()
            self._check(name, given, caller)
            # No tool of ours asks back.
            answer = cast("CallToolResult", await super().call_tool(name, given, context))
            return replies.told_as_well(answer, await self._unread(caller.name))
        except Exception as error:  # noqa: BLE001  (the boundary: replies.of_error logs what it does not know)
            cause = _cause(error)
            if isinstance(cause, NotAuthorized):
                await self._note(cause, caller, self._asked(name, given.get("action")))
            refusal = replies.of_error(cause, name, self._schemas.get(name, {}))
        with contextlib.suppress(CrewyardError):  # a database that cannot be read is what the refusal tells of
            if caller is not None:
                refusal = replies.told_as_well(refusal, await self._unread(caller.name))
        return refusal

    async def _unread(self, reader: str) -> dict[str, int]:
        """What every answer tells whoever has mail, so that it polls (C-24)."""
        count = await self.yard.store.glance(_unread, reader, clock.now())
        return {"unread": count} if count else {}

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Yard, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read a resource; what only the lead, or another, may read is refused, and not merely unknown."""
        found = RESOURCE.match(str(uri))
        asked = found[0] if found and found[1] in self._resources else "a resource"
        caller: Caller | None = None
        try:
            await self.yard.supervised()
            caller = await self.yard.caller()
            self._check_resource(found)
            return await super().read_resource(uri, context)
        except NotAuthorized as error:
            await self._note(error, caller, asked)
            raise ResourceError(error.as_text) from error
        except CrewyardError as error:
            raise ResourceError(error.as_text) from error
        except ResourceError as error:
            if isinstance(error.__cause__, NotAuthorized):
                await self._note(error.__cause__, caller, asked)
            raise

    def _check_resource(self, found: re.Match[str] | None) -> None:
        if found and found[1] in self._lead_resources:
            raise NotAuthorized(f"Only the lead may read {found[0]}.", hint="Read crewyard://plan.")

    async def _note(self, refused: NotAuthorized, caller: Caller | None, asked: str) -> None:
        name = caller.name if caller is not None else refused.details.get("agent_id", identity.UNKNOWN)
        await self.refusals.note(name, asked)

    def _asked(self, name: str, action: object) -> str:
        """The call, as far as it is one that there is: what is made up is not recorded."""
        schema = self._lead_schemas.get(name) or self._schemas.get(name)
        if schema is None:
            return "a tool"
        known = [*_actions(schema), *_actions(self._schemas.get(name))]
        return f"{name}(action={action!r})" if action in known else name

    def _check(self, name: str, arguments: Mapping[str, Any], caller: Caller) -> None:
        """Raises NotAuthorized for what only the lead may do, InvalidInput for a tool or argument that is not there."""
        action = arguments.get("action")
        schema = self._schemas.get(name)
        if name in self._approvers and not caller.may_approve:
            roles = ", ".join(self.yard.settings.merge.authorized_roles) or "none"
            raise NotAuthorized(
                f"Only the lead, and agents of the types in merge.authorized_roles ({roles}), may call {name}.",
                hint="Use report, route, agents or plan; the lead approves merges.",
            )
        if self.yard.is_workers and (
            (schema is None and name in self._lead_schemas)
            or (
                schema is not None
                and action not in _actions(schema)
                and action in _actions(self._lead_schemas.get(name))
            )
        ):
            what = f"{name}(action={action!r})" if action else name
            raise NotAuthorized(f"Only the lead may call {what}.", hint="Use report, route, agents or plan.")
        if schema is None:
            raise replies.unknown("tool", name, list(self._schemas))
        for argument in arguments:
            if argument not in schema["properties"]:
                raise replies.unknown_argument(name, argument, list(schema["properties"]))

    async def run_stdio_async(self) -> None:
        """Serve stdin and stdout until the client closes them, or SIGTERM or SIGINT comes; then end the process with 0.

        The process is ended from here, after the lifespan's own bounded clean-up: the thread that reads stdin cannot be
        woken after a signal, and taking the interpreter down takes 0.2 s. Claude Code kills 0.5 s after its SIGINT.
        """
        server = self._lowlevel_server
        async with stdio_server() as (incoming, outgoing), anyio.create_task_group() as tasks:
            signalled = anyio.Event()
            tasks.start_soon(self._cancel_on_signal, tasks.cancel_scope, signalled)
            try:
                await server.run(incoming, outgoing, server.create_initialization_options())
            finally:
                if signalled.is_set():
                    end_process()
                tasks.cancel_scope.cancel()
        end_process()

    async def _cancel_on_signal(self, scope: anyio.CancelScope, signalled: anyio.Event) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                logger.info("ending on %s", signal.Signals(number).name)
                signalled.set()
                scope.cancel()
                return


def end_process(code: int = 0) -> NoReturn:
    """Taking the interpreter down would take longer than all clean-up, which has been done."""
    logging.shutdown()
    os._exit(code)


def _unread(tx: Transaction, reader: str, now: str) -> int:
    return messages.unread(tx, recipients.mailboxes(tx, reader), now=now)


def _actions(schema: Mapping[str, Any] | None) -> list[str]:
    action = (schema or {}).get("properties", {}).get("action", {})
    return [action["const"]] if "const" in action else list(action.get("enum", ()))


def _cause(error: BaseException) -> BaseException:
    """What a tool raised, out of the library's wrapping; what its own models refuse is no fault of the caller."""
    cause = error.__cause__ if isinstance(error, ToolError) else None
    if cause is None or (isinstance(error, UnexpectedToolError) and isinstance(cause, ValidationError)):
        return error
    return cause
