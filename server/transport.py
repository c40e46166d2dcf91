"""Streamable HTTP: one bearer token, a checked Host, an end that does not hang (design 8, sdk-notes).

The token is made once and kept in a file that only its owner can read; it is never printed.
"""

import contextlib
import hmac
import ipaddress
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import anyio
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl

from .endpoint import Endpoint
from .errors import ConfigurationError
from .yard import Yard

logger = logging.getLogger(__name__)
TOKEN_VARIABLE = "CREWYARD_HTTP_TOKEN"  # noqa: S105  (the variable's name)
MIN_TOKEN_LENGTH = 16
GRACE_SECONDS = 1


class OneToken:
    """Accepts exactly one bearer token, compared in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        if not hmac.compare_digest(token.encode(), self._token):
            return None
        return AccessToken(token=token, client_id="lead", scopes=[])


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
) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigurationError for an address or token that cannot be used.

    ``opening`` is called once nothing speaks against it, before anything is supervised; ``ready``, with the URL and
    where the token is kept, once clients are served.
    """
    token, kept_in = http_token(yard)
    with bound(host, port) as listener:
        port = listener.getsockname()[1]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        # There is no authorization server: the token is ours, and so no metadata of one is served.
        auth = AuthSettings(issuer_url=AnyHttpUrl(url), resource_server_url=None)
        app = build(auth=auth, token_verifier=OneToken(token))
        config = uvicorn.Config(
            app.streamable_http_app(host=host, transport_security=security(host)),
            log_config=None,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        opening()
        anyio.run(_run, Server(config, lambda: (ready or _tell)(f"{url}/mcp", kept_in)), listener)


async def _run(server: Server, listener: socket.socket) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_signal, server)
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()


async def _end_on_signal(server: Server) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            logger.info("ending on %s", signal.Signals(number).name)
            server.force_exit = server.should_exit
            server.should_exit = True


def http_token(yard: Yard) -> tuple[str, str]:
    """The bearer token and where it is kept; made where there is none. Raises ConfigurationError for a weak one."""
    given = os.environ.get(TOKEN_VARIABLE)
    path = yard.paths.own / "http-token"
    token = given if given is not None else _kept(path)
    if len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        place = TOKEN_VARIABLE if given is not None else str(path)
        raise ConfigurationError(
            f"The token in {place} cannot be used.",
            hint=f"At least {MIN_TOKEN_LENGTH} printable characters without blanks; remove it to get a new one.",
        )
    return token, f"the variable {TOKEN_VARIABLE}" if given is not None else str(path)


def _kept(path: Path) -> str:
    """The token of the file; it is written beside and linked, so that nobody ever reads half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(dir=path.parent)  # for its owner only
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{secrets.token_urlsafe(32)}\n")
    with contextlib.suppress(FileExistsError):
        os.link(fresh, path)
    Path(fresh).unlink()
    path.chmod(0o600)
    return path.read_text(encoding="ascii", errors="replace").strip()


@contextlib.contextmanager
def bound(host: str, port: int) -> Generator[socket.socket, None, None]:
    """A socket at the address. Raises ConfigurationError where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"Nothing can be served at {host}:{port}: {error}.",
                hint="Give another HOST:PORT; port 0 takes a free one.",
            ) from error
        yield listener


def security(host: str) -> TransportSecuritySettings:
    """The Host and Origin headers that are accepted: this address, or any on an address that serves other machines."""
    if not is_loopback(host):
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{name}:*" for name in names],
        allowed_origins=[f"http://{name}:*" for name in names],
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tell(url: str, kept_in: str) -> None:
    print(f"crewyard: ready at {url}; the bearer token is in {kept_in}", file=sys.stderr, flush=True)  # noqa: T201
