"""Streamable HTTP: two entrances behind one address, bounded connections, an end that does not hang (design 8)."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from pathlib import Path

import anyio
import uvicorn
from anyio.abc import TaskGroup
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.routing import Mount
from uvicorn.protocols.http.h11_impl import H11Protocol

from . import addresses, tokens
from .doors import Door
from .endpoint import Endpoint, end_process
from .errors import NotAuthorized
from .recipients import LEAD
from .tokens import Tokens
from .yard import Yard

logger = logging.getLogger(__name__)
AGENTS = "/agent"
GRACE_SECONDS = 1
HEADER_SECONDS = 10
MOST_CONNECTIONS = 500
MOST_SESSIONS = 1_000


class Connection(H11Protocol):
    """One connection of at most so many; who asks for nothing, or drips its headers, is cut off.

    Where there are too many, the one goes that has asked for nothing for longest: whoever holds many keeps nobody out.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._request_is_due: asyncio.TimerHandle | None = None
        self._quiet_since = self.loop.time()
        self._wait_for_request()
        if len(self.connections) > MOST_CONNECTIONS:
            quiet = [each for each in self.connections if isinstance(each, Connection) and not each._is_asked]
            min(quiet, key=lambda each: each._quiet_since, default=self).transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_asked:
            self._stop_waiting()
        else:
            self._wait_for_request()

    def on_response_complete(self) -> None:
        self._quiet_since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        """For the whole of its head, from its first byte on; between two requests uvicorn's own time-out counts."""
        if self._request_is_due is None:
            self._request_is_due = self.loop.call_later(HEADER_SECONDS, self._cut_off)

    def _stop_waiting(self) -> None:
        if self._request_is_due is not None:
            self._request_is_due.cancel()
            self._request_is_due = None

    def _cut_off(self) -> None:
        self._request_is_due = None
        if not self._is_asked:
            self.transport.close()

    @property
    def _is_asked(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete


class Server(uvicorn.Server):
    """uvicorn that leaves the signals to us, and says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # uvicorn's own would raise the signal again at the end, and the exit code would not be 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()


def serve(
    yard: Yard,
    build: Callable[..., Endpoint],
    host: str,
    port: int,
    *,
    opening: Callable[[], None] = lambda: None,
    ready: Callable[[str, str], None] | None = None,
    last_port: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT: the lead at /mcp, its agents at /agent/mcp, each with its own token.

    Raises ConfigurationError for an address or token that cannot be used, NotAuthorized to an agent. ``opening`` is
    called once nothing speaks against it, before anything is supervised; ``ready``, with the URL and where the token is
    kept, once clients are served. ``last_port`` keeps the port where it is chosen here.
    """
    if yard.is_workers:
        raise NotAuthorized("An agent of the crew does not serve over HTTP.", hint="Without --http it serves itself.")
    token, kept_in = tokens.http_token(yard)
    with addresses.bound(host, port, last_port) as listener:
        url = f"http://{addresses.in_url(host)}:{listener.getsockname()[1]}"
        doors, app = _app(yard, build, url, host, Tokens(token, yard))
        config = uvicorn.Config(
            app,
            log_config=None,
            http=Connection,
            ws="none",
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=HEADER_SECONDS,
            server_header=False,
        )
        opening()
        anyio.run(_run, Server(config, lambda: (ready or _tell)(f"{url}/mcp", kept_in)), listener, doors)


def _app(
    yard: Yard, build: Callable[..., Endpoint], url: str, host: str, verifier: Tokens
) -> tuple[list[Door], Starlette]:
    doors: dict[str, Door] = {}
    for path, view, scope in ((AGENTS, yard.for_agents(tokens.presented), tokens.AGENT), ("", yard, LEAD)):
        # There is no authorization server: the tokens are ours, and so no metadata of one is served.
        auth = AuthSettings(issuer_url=AnyHttpUrl(url), resource_server_url=None, required_scopes=[scope])
        endpoint = build(view, auth=auth, token_verifier=verifier)
        app = endpoint.streamable_http_app(
            host=host,
            transport_security=addresses.security(host, yard.settings.http.allowed_hosts),
            max_sessions=MOST_SESSIONS,
        )
        doors[path] = Door(app, endpoint.session_manager, yard, is_agents=path == AGENTS)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for door in doors.values():
                await stack.enter_async_context(door.watching())
            await yard.supervised()
            yield

    routes = [Mount(path, door) for path, door in doors.items()]  # the longer path first
    return list(doors.values()), Starlette(routes=routes, lifespan=lifespan)


async def _run(server: Server, listener: socket.socket, doors: Sequence[Door]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_signal, server, doors, tasks)
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()


async def _end_on_signal(server: Server, doors: Sequence[Door], ending: TaskGroup) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            logger.info("ending on %s", signal.Signals(number).name)
            if server.should_exit:
                end_process()  # asked for twice: at once
            server.should_exit = True
            ending.start_soon(_close, doors)


async def _close(doors: Sequence[Door]) -> None:
    async with anyio.create_task_group() as closing:
        for door in doors:
            closing.start_soon(door.close)


def _tell(url: str, kept_in: str) -> None:
    print(f"crewyard: ready at {url}; the bearer token is in {kept_in}", file=sys.stderr, flush=True)  # noqa: T201
