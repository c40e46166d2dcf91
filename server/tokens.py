"""Whose a bearer token is: the lead's, which is made once and kept in a file that only its owner reads, or an agent's.

No token is ever printed or logged.
"""

import contextlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken

from . import agents
from .errors import ConfigurationError, NotAuthorized
from .recipients import LEAD
from .settings import HTTP_TOKEN
from .yard import Yard

MIN_TOKEN_LENGTH = 16
AGENT = "agent"


class Tokens:
    """The lead's token has the scope ``lead``, that of an agent that lives the scope ``agent``; no other is taken."""

    def __init__(self, lead: str, yard: Yard) -> None:
        self._lead = lead.encode()
        self._yard = yard

    async def verify_token(self, token: str) -> AccessToken | None:
        """Looked at anew with each request: an agent's token is worth nothing once it has ended."""
        if hmac.compare_digest(token.encode(), self._lead):
            return AccessToken(token=token, client_id=LEAD, scopes=[LEAD])
        row = await self._yard.store.read(agents.by_token, token)
        return None if row is None else AccessToken(token=token, client_id=row["agent_id"], scopes=[AGENT])


def presented() -> str:
    """The token that came with the request that is being answered. Raises NotAuthorized outside of one."""
    token = get_access_token()
    if token is None:
        raise NotAuthorized("No token came with this request.")
    return token.token


def http_token(yard: Yard) -> tuple[str, str]:
    """The lead's token and where it is kept; made where there is none. Raises ConfigurationError for a weak one."""
    given = os.environ.get(HTTP_TOKEN)
    path = yard.paths.own / "http-token"
    token = given if given is not None else _kept(path)
    if len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        place = HTTP_TOKEN if given is not None else str(path)
        raise ConfigurationError(
            f"The token in {place} cannot be used.",
            hint=f"At least {MIN_TOKEN_LENGTH} printable characters without blanks; remove it to get a new one.",
        )
    return token, f"the variable {HTTP_TOKEN}" if given is not None else str(path)


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
