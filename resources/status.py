"""``crewyard://status`` and ``crewyard://merges``: the yard at a glance."""

from dataclasses import replace

from mcp.server.mcpserver import MCPServer

from ..server import clock, merges, overview
from ..server.store import Transaction
from ..server.yard import Yard
from .reading import JSON, NEVER, read, shown_by, to_json


def register(app: MCPServer[Yard], yard: Yard) -> None:
    @app.resource("crewyard://status", mime_type=JSON, description="Tasks by state, live agents, merges, dispatches.")
    async def status() -> str:
        return to_json(await read(yard, overview.overview, now=clock.now(), uptime=clock.uptime()))

    @app.resource("crewyard://merges", mime_type=JSON, description="The merge queue in its order.")
    async def merge_queue() -> str:
        rows = await read(yard, merges.queue)
        return to_json({"merge_queue": overview.merge_views(rows)})


def _lasting(tx: Transaction) -> overview.Overview:
    seen = overview.overview(tx, now=NEVER, uptime=clock.uptime())
    return replace(seen, supervisor=seen.supervisor and replace(seen.supervisor, until=NEVER))


SIGHTS = {
    "crewyard://status": shown_by(_lasting),
    "crewyard://merges": shown_by(lambda tx: overview.merge_views(merges.queue(tx))),
}
