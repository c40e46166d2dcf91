"""Connections over HTTP: those in use stay, those that ask for nothing go."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from crewyard.server import addresses, transport

pytestmark = pytest.mark.anyio
Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(transport, "MOST_CONNECTIONS", 5)


@asynccontextmanager
async def connection(address: tuple[str, int]) -> AsyncIterator[Connected]:
    reader, writer = await asyncio.open_connection(*address)
    yield reader, writer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, int]]:
    async def answer(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/", answer)])
    with addresses.bound("127.0.0.1", 0) as listener:
        ready = asyncio.Event()
        server = transport.Server(uvicorn.Config(app, http=transport.Connection, log_config=None), ready.set)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await ready.wait()
        yield listener.getsockname()
        server.should_exit = True
        await serving


async def ask(connected: Connected) -> bytes:
    reader, writer = connected
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        return head.split(b"\r\n")[0] + await reader.readexactly(5)
    return b""


async def test_a_connection_that_is_used_is_not_cut_off() -> None:
    async with served() as address, connection(address) as connected:
        end = time.monotonic() + 3 * transport.HEADER_SECONDS
        while time.monotonic() < end:
            assert await ask(connected) == b"HTTP/1.1 200 OKhello"


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_one_that_asks_for_nothing_is_cut_off(sent: bytes) -> None:
    async with served() as address, connection(address) as (reader, writer):
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_drips_of_a_second_request_are_cut_off_as_well() -> None:
    async with served() as address, connection(address) as (reader, writer):
        await ask((reader, writer))
        writer.write(b"GET / HT")
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_whoever_holds_many_connections_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "HEADER_SECONDS", 60)
    async with served() as address, contextlib.AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connection(address)) for _ in range(transport.MOST_CONNECTIONS)]
        for _ in range(3):
            async with connection(address) as connected:
                assert await ask(connected) == b"HTTP/1.1 200 OKhello"
        assert await asyncio.wait_for(held[0][0].read(), 10) == b""
