"""``crewyard://graph``, ``crewyard://graph.mmd``, ``crewyard://plan`` and ``crewyard://tasks/{task_id}``."""

from typing import Any

from mcp.server.mcpserver import MCPServer

from ..server import events, graph, plan_export, tasks
from ..server.store import Transaction
from ..server.yard import Yard
from .reading import JSON, read, to_json


def register(app: MCPServer[Yard], yard: Yard) -> None:
    @app.resource("crewyard://graph", mime_type=JSON, description="Tasks, edges, states and the critical path.")
    async def task_graph() -> str:
        return to_json(await read(yard, graph.snapshot))

    @app.resource("crewyard://graph.mmd", mime_type="text/vnd.mermaid", description="The graph as a Mermaid flowchart.")
    async def mermaid() -> str:
        return graph.to_mermaid(await read(yard, graph.snapshot))

    @app.resource("crewyard://plan", mime_type=JSON, description="The whole plan, in the form that import reads.")
    async def whole_plan() -> str:
        return to_json(await read(yard, plan_export.export_plan))

    @app.resource("crewyard://tasks/{task_id}", mime_type=JSON, description="One task: its edges, agents and history.")
    async def one_task(task_id: str) -> str:
        return to_json(await read(yard, task_detail, task_id))


def task_detail(tx: Transaction, task_id: str) -> dict[str, Any]:
    row = tasks.get(tx, task_id)
    shown = {key: row[key] for key in row.keys() if key not in ("files", "check_command")}  # noqa: SIM118  (a Row)
    return {
        **shown,
        "files": tasks.files_of(row),
        "check": tasks.check_of(row),
        "depends_on": _edges(tx, "dependent_task_id", "blocking_task_id", task_id),
        "blocks": _edges(tx, "blocking_task_id", "dependent_task_id", task_id),
        "agents": [
            dict(agent)
            for agent in tx.all(
                "SELECT agent_id, agent_type, status, attempt, started_at, completed_at, exit_code, error_message "
                "FROM agent_lifecycle WHERE task_id = ? ORDER BY created_at, agent_id",
                (task_id,),
            )
        ],
        "history": [
            {key: event[key] for key in ("at", "actor", "kind", "from_state", "to_state")}
            for event in events.of(tx, "task", task_id)
        ],
    }


def _edges(tx: Transaction, mine: str, other: str, task_id: str) -> list[dict[str, str]]:
    rows = tx.all(
        f"SELECT {other} AS task_id, dependency_type AS type, dependency_status AS status FROM specs_task_dependency "
        f"WHERE {mine} = ? ORDER BY {other}",
        (task_id,),
    )
    return [dict(row) for row in rows]
