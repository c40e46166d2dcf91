"""How clients subscribe to resources, and are told: one way in each protocol era (design 8).

Of the newer era is ``subscriptions/listen``, a request that stays open; the library serves it. Of the older one are
``resources/subscribe`` and ``resources/unsubscribe``, whose subscriptions are the session's. A session over HTTP can be
told of something only while it has a stream open; in between its subscriptions rest, and cost nothing, and with the
next stream it is told that all of it may have changed. Nobody may subscribe to what he may not read.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    EmptyResult,
    ReadResourceRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import CrewyardError
from .subscriptions import Sight, Subscriptions

SESSION = "crewyard.session"
Context = ServerRequestContext[Any, Any]
Read = Callable[[Context, ReadResourceRequestParams], Awaitable[Any]]


class Listening:
    """Serves the subscriptions of one MCP server. ``read`` refuses what its caller may not read."""

    def __init__(self, sights: Mapping[str, Sight], subscriptions: Subscriptions, read: Read) -> None:
        self._sights = {UriTemplate.parse(template): sight for template, sight in sights.items()}
        self._subscriptions = subscriptions
        self._read = read
        self._sessions: dict[str, _Session] = {}  # those over HTTP, by their ids
        self._streams: Counter[str] = Counter()  # of each of those that can be told of something, by its id

    def serve(self, server: Server[Any]) -> None:
        """Take the requests of both eras."""
        server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, self._listen)
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)

    async def _listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """What cannot be read is left out of what the acknowledgement says to be honoured, as the protocol has it."""
        stream = _Stream()
        readable = []
        for uri in dict.fromkeys(params.notifications.resource_subscriptions or ()):
            with contextlib.suppress(MCPError):
                await self._read(ctx, ReadResourceRequestParams(uri=uri))
                readable.append(uri)
        filtered = params.notifications.model_copy(update={"resource_subscriptions": readable})
        async with self._told(readable, stream.tell):
            return await ListenHandler(stream)(ctx, params.model_copy(update={"notifications": filtered}))

    async def _subscribe(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        await self._read(ctx, ReadResourceRequestParams(uri=params.uri))
        session = self._session_of(ctx.session)
        session.uris[params.uri] = None  # first: a stream may open or close meanwhile
        if session.name is None or session.name in self._streams:
            try:
                await self._add(params.uri, session.tell)
            except MCPError:
                session.uris.pop(params.uri, None)
                raise
        return EmptyResult()

    async def _unsubscribe(self, ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        session = self._session_of(ctx.session)
        session.uris.pop(params.uri, None)
        self._subscriptions.remove(params.uri, session.tell)
        return EmptyResult()

    def _session_of(self, asked: ServerSession) -> "_Session":
        connection: Connection = asked._connection  # the library shows a handler its requests only
        session: _Session | None = connection.state.get(SESSION)
        if session is None:
            session = connection.state[SESSION] = _Session(connection.session_id, asked)
            connection.exit_stack.callback(self._forget, session)
            if session.name is not None:
                self._sessions[session.name] = session
        return session

    def _forget(self, session: "_Session") -> None:
        self._rest(session)
        session.close()
        if session.name is not None:
            self._sessions.pop(session.name, None)

    def _rest(self, session: "_Session") -> None:
        for uri in session.uris:
            self._subscriptions.remove(uri, session.tell)

    @contextlib.asynccontextmanager
    async def _told(self, uris: list[str], tell: Callable[[str], None]) -> AsyncIterator[None]:
        try:
            for uri in uris:
                await self._add(uri, tell)
            yield
        finally:
            for uri in uris:
                self._subscriptions.remove(uri, tell)

    async def _add(self, uri: str, tell: Callable[[str], None]) -> None:
        for template, sight in self._sights.items():
            variables = template.match(uri)
            if variables is not None:
                try:
                    return await self._subscriptions.add(uri, sight, variables, tell)
                except CrewyardError as error:
                    raise MCPError(INTERNAL_ERROR, error.as_text, data={"uri": uri}) from error
        raise MCPError(INVALID_PARAMS, f"{uri} does not change and cannot be subscribed to.", data={"uri": uri})

    @contextlib.asynccontextmanager
    async def stream_of(self, name: str) -> AsyncIterator[None]:
        """While the block lasts, the session of this id can be told of something."""
        self._streams[name] += 1
        try:
            if (session := self._sessions.get(name)) is not None:
                await self._wake(session)
            yield
        finally:
            self._streams[name] -= 1
            if not self._streams[name]:  # else its client has come back before this one was seen to be gone
                del self._streams[name]
                if (session := self._sessions.get(name)) is not None:
                    self._rest(session)

    async def _wake(self, session: "_Session") -> None:
        for uri in list(session.uris):
            with contextlib.suppress(MCPError):  # there is no room; it is told at its next stream
                await self._add(uri, session.tell)
            if uri not in session.uris or session.is_closed:  # it left meanwhile
                self._subscriptions.remove(uri, session.tell)
            else:
                session.tell(uri)


class _Stream:
    """The bus of a single ``subscriptions/listen``: the library's handler listens to it."""

    def __init__(self) -> None:
        self._listener: Callable[[ServerEvent], None] = lambda _event: None

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        self._listener = listener
        return lambda: None

    async def publish(self, event: ServerEvent) -> None:
        self._listener(event)

    def tell(self, uri: str) -> None:
        self._listener(ResourceUpdated(uri=uri))


class _Session:
    """A client of the older era and what it is subscribed to. One that reads nothing holds up nobody but itself."""

    def __init__(self, name: str | None, session: ServerSession) -> None:
        self.name = name
        self.uris: dict[str, None] = {}
        self.is_closed = False
        self._session = session
        self._due: dict[str, None] = {}
        self._more = anyio.Event()
        self._telling = asyncio.get_running_loop().create_task(self._keep_telling())

    def tell(self, uri: str) -> None:
        self._due[uri] = None
        self._more.set()

    def close(self) -> None:
        self.is_closed = True
        self._telling.cancel()

    async def _keep_telling(self) -> None:
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            while self._due:
                uri = next(iter(self._due))
                del self._due[uri]
                await self._session.send_resource_updated(uri)


class Streams:
    """Wraps the HTTP application, and sees which sessions of the older era have a stream open."""

    def __init__(self, app: ASGIApp, listening: Listening) -> None:
        self._app = app
        self._listening = listening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["type"] == "http" and scope["method"] == "GET" and dict(scope["headers"]).get(b"mcp-session-id")
        if not name:
            await self._app(scope, receive, send)
            return
        async with contextlib.AsyncExitStack() as streaming:

            async def seen(message: Message) -> None:
                await send(message)
                if message["type"] == "http.response.start" and message["status"] == 200:
                    await streaming.enter_async_context(self._listening.stream_of(name.decode("latin-1")))

            await self._app(scope, receive, seen)
