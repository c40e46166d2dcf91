"""Where is served over HTTP, and under which names: a Host or Origin of any other is refused (DNS rebinding)."""

import contextlib
import ipaddress
import socket
from collections.abc import Collection, Generator
from pathlib import Path

from mcp.server.transport_security import TransportSecuritySettings

from . import host as machine
from .errors import ConfigurationError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def security(host: str, allowed: Collection[str]) -> TransportSecuritySettings:
    """The Host and Origin headers that are accepted at this address: its own, this machine's, and those ``allowed``."""
    names = {*LOOPBACK, in_url(host), *allowed}
    if not is_loopback(host):
        names.update(in_url(name) for name in machine.own_names())
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{name}{port}" for name in sorted(names) for port in ("", ":*")],
        allowed_origins=[
            f"{scheme}://{name}{port}" for scheme in ("http", "https") for name in sorted(names) for port in ("", ":*")
        ],
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def bound(host: str, port: int, last: Path | None = None) -> Generator[socket.socket, None, None]:
    """A socket at the address. Raises ConfigurationError where it cannot be had.

    A port that is chosen here (0) is written to the file ``last``, and taken again where it is free: who was told of it
    finds whoever serves next.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio lets what is written go at once; else answers wait 40 ms for the client's ACK.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if port or last is None or not _again(listener, host, last):
                listener.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"Nothing can be served at {host}:{port}: {error}.",
                hint="Give another HOST:PORT; port 0 takes a free one.",
            ) from error
        if not port and last is not None:
            last.write_text(str(listener.getsockname()[1]), encoding="ascii")
        yield listener


def _again(listener: socket.socket, host: str, last: Path) -> bool:
    """Whether the last port could be taken again."""
    try:
        listener.bind((host, int(last.read_text(encoding="ascii"))))
    except (OSError, OverflowError, ValueError):
        return False
    return True
