"""The two entrances over HTTP, of the lead and of the agents: who was let in and has ended is shown out.

A connection may stay open for as long as its client likes. When the agent that it belongs to has ended, or the server
ends, it is closed from here: its session is ended, its answer brought to an end, and nothing is logged as a failure.
"""

import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import agents, identity
from .errors import CrewyardError
from .refusals import Refusals
from .yard import Yard

logger = logging.getLogger(__name__)
REFUSED = (401, 403, 421)
LAST_WORDS_SECONDS = 0.3  # for answers that are under way
BODY_SECONDS = 30.0
SESSION_ID = MCP_SESSION_ID_HEADER.encode()


@dataclass(eq=False)
class _Visit:
    """A request that is being answered. ``scope`` gets its user when the token has been looked at."""

    scope: Scope
    cancel: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    status: int | None = None
    is_answered: bool = False
    is_strangers: bool = False  # it named the session of another
    refused_with: int = 503

    @property
    def name(self) -> str:
        user = self.scope.get("user")
        return user.access_token.client_id if isinstance(user, AuthenticatedUser) else identity.UNKNOWN

    def end(self, status: int) -> None:
        self.refused_with = status
        self.cancel.cancel()


class Door:
    """One entrance: an ASGI app around the library's."""

    def __init__(self, app: ASGIApp, sessions: StreamableHTTPSessionManager, yard: Yard, *, is_agents: bool) -> None:
        self._app = app
        self._sessions = sessions
        self._yard = yard
        self._refusals = Refusals(yard)
        self._is_agents = is_agents
        self._came = anyio.Event()
        self._visits: set[_Visit] = set()
        self._opened: dict[bytes, _Visit] = {}  # sessions, with the visit that opened each

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = _Visit(scope)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                self._note_session(visit, message)
            await send(message)
            visit.is_answered = message["type"] == "http.response.body" and not message.get("more_body", False)

        self._visits.add(visit)
        self._came.set()
        try:
            with visit.cancel:
                await self._app(scope, _in_time(receive, visit) if scope["method"] == "POST" else receive, watched)
            if visit.cancel.cancelled_caught:
                await _finish(visit, scope, receive, send)
        finally:
            self._visits.discard(visit)
        if visit.status in REFUSED or visit.is_strangers:
            await self._refusals.note(visit.name, f"HTTP {scope['path']}: {visit.status}")

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """While this is open, agents that end are shown out."""
        async with self._sessions.run(), anyio.create_task_group() as tasks:
            if self._is_agents:
                tasks.start_soon(self._watch)
            yield
            tasks.cancel_scope.cancel()

    async def close(self) -> None:
        """Show everybody out."""
        await self._show_out({visit.name for visit in (*self._visits, *self._opened.values())}, 503)

    async def _watch(self) -> None:
        changes = self._yard.changes
        while True:
            await self._came.wait()
            self._came = anyio.Event()
            async with changes.heard():
                while self._visits or self._opened:
                    changed = changes.next()
                    names = {visit.name for visit in (*self._visits, *self._opened.values())}
                    try:
                        if ended := await self._yard.store.read(agents.ended_of, names):
                            await self._show_out(ended, 401)
                    except CrewyardError as error:  # the entrance stays open; the next change is another look
                        logger.warning("who has ended could not be looked up: %s", error)
                    await changed.wait()

    async def _show_out(self, names: set[str], status: int) -> None:
        if any(visit.name in names for visit in self._visits):
            await anyio.sleep(LAST_WORDS_SECONDS)
        for session, opening in list(self._opened.items()):
            if opening.name in names:
                await self._end_session(session, opening.scope)
        for visit in list(self._visits):
            if visit.name in names:
                visit.end(status)

    async def _end_session(self, session: bytes, opening: Scope) -> None:
        """As if its client had asked for it, past the look at its token."""
        self._opened.pop(session, None)
        headers = [(name, value) for name, value in opening["headers"] if name in (b"host", b"origin")]
        scope = {**opening, "method": "DELETE", "headers": [*headers, (SESSION_ID, session)]}
        await self._sessions.handle_request(scope, _nothing, _nowhere)

    def _note_session(self, visit: _Visit, start: Message) -> None:
        asked = dict(visit.scope["headers"]).get(SESSION_ID)
        if asked is None:
            if (session := dict(start["headers"]).get(SESSION_ID)) is not None:
                self._opened[session] = visit
        elif (opening := self._opened.get(asked)) is not None and opening.name != visit.name:
            visit.is_strangers = True
        elif visit.scope["method"] == "DELETE" or start["status"] == 404:
            self._opened.pop(asked, None)


def _in_time(receive: Receive, visit: _Visit) -> Receive:
    """``receive`` that ends a visit whose body does not come."""
    deadline = time.monotonic() + BODY_SECONDS
    is_whole = False

    async def next_part() -> Message:
        nonlocal is_whole
        if is_whole:
            return await receive()
        with anyio.move_on_after(deadline - time.monotonic()):
            message = await receive()
            is_whole = not message.get("more_body", False)
            return message
        visit.end(408)
        return await receive()

    return next_part


async def _finish(visit: _Visit, scope: Scope, receive: Receive, send: Send) -> None:
    if visit.status is None:
        visit.status = visit.refused_with
        await Response(status_code=visit.refused_with, headers={"Connection": "close"})(scope, receive, send)
    elif not visit.is_answered:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(message: Message) -> None:
    """Nobody waits for the answer."""
