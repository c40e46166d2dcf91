"""Where is served over HTTP."""

import asyncio
import socket

import pytest

from crewyard.server import addresses


@pytest.mark.anyio
async def test_what_is_written_goes_at_once_and_waits_for_no_acknowledgement() -> None:
    served: list[int] = []

    def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with addresses.bound("127.0.0.1", 0) as listener:
        server = await asyncio.start_server(serve, sock=listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        await reader.read()
        writer.close()
        server.close()
        await server.wait_closed()
    assert served[0] != 0
