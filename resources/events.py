"""``crewyard://events{?after,limit}``: what happened, oldest first, to be read on from the last ``event_id``.

Without ``after`` the newest, so that who is told of news and reads again finds them.
"""

import json
from typing import Any

from mcp.server.mcpserver import MCPServer

from ..server import events
from ..server.store import Row
from ..server.yard import Yard
from .reading import JSON, read, shown_by, to_json

MOST = 1_000


def register(app: MCPServer[Yard], yard: Yard) -> None:
    @app.resource("crewyard://events{?after,limit}", mime_type=JSON, description="What happened after an event_id.")
    async def happened(after: int | None = None, limit: int = 100) -> str:
        most = max(1, min(limit, MOST))
        rows = await read(yard, events.newest, most) if after is None else await read(yard, events.after, after, most)
        last = rows[-1]["event_id"] if rows else after or 0
        return to_json({"events": [_event(row) for row in rows], "next_after": last})


def _event(row: Row) -> dict[str, Any]:
    return {**dict(row), "data": json.loads(row["data"])}


# Any event is news to whoever watches, whichever part is asked for.
SIGHTS = {"crewyard://events{?after,limit}": shown_by(lambda tx, **_: events.latest(tx))}
