"""``crewyard://agents``, one agent, and the end of its output."""

import anyio.to_thread
from mcp.server.mcpserver import MCPServer

from ..server import agents, clock, kinds, outputs, overview
from ..server.store import Transaction
from ..server.subscriptions import Sight
from ..server.yard import Yard
from .reading import JSON, NEVER, read, shown_by, to_json

LOG_LINES = 5_000
LOG_CHARS = 256 * 1024


def register(app: MCPServer[Yard], yard: Yard) -> None:
    @app.resource("crewyard://agents", mime_type=JSON, description="Every live agent, with its task and heartbeat.")
    async def agents_alive() -> str:
        return to_json({"agents": await read(yard, _alive, clock.now())})

    @app.resource("crewyard://agents/{agent_id}", mime_type=JSON, description="One agent and its reports.")
    async def one_agent(agent_id: str) -> str:
        return to_json(await read(yard, overview.agent_detail, agent_id, now=clock.now()))

    @app.resource("crewyard://agents/{agent_id}/log", mime_type="text/plain", description="The end of its output.")
    async def agent_log(agent_id: str) -> str:
        row = await read(yard, agents.get, agent_id)
        kind = kinds.named(row["kind"])
        return await anyio.to_thread.run_sync(
            lambda: outputs.tail(row["run_dir"], kind, lines=LOG_LINES, max_chars=LOG_CHARS)
        )


def _alive(tx: Transaction, now: str) -> list[overview.AgentView]:
    return overview.agent_views(agents.listed(tx, limit=10_000), now=now)


async def _log_grown(yard: Yard, _before: object, agent_id: str) -> object:
    row = await yard.store.read(agents.get, agent_id)
    return await anyio.to_thread.run_sync(outputs.state, row["run_dir"])


SIGHTS = {
    "crewyard://agents": shown_by(_alive, now=NEVER),
    "crewyard://agents/{agent_id}": shown_by(overview.agent_detail, now=NEVER),
    "crewyard://agents/{agent_id}/log": Sight(_log_grown, is_committed=False),
}
