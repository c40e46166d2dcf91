"""``crewyard://graph``, ``crewyard://graph.mmd``, ``crewyard://plan`` and ``crewyard://tasks/{task_id}``."""

from typing import Any

from mcp.server.mcpserver import MCPServer

from ..server import events, graph, plan_export, tasks
from ..server.store import Transaction
from ..server.yard import Yard
from .reading import JSON, changed_by, read, shown_by, to_json

# A plan's every change is an event of one of these.
SUBJECTS = ("task", "plan")


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
        found = await read(yard, task_detail, task_id)
        return to_json(_without_logs(found) if yard.is_workers else found)


def _without_logs(task: dict[str, Any]) -> dict[str, Any]:
    """What agents may know of each other's tasks: an error's words may be the last line of another's log."""

    def known(row: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in row.items() if key != "error_message"}

    return {**known(task), "agents": [known(agent) for agent in task["agents"]]}


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


SIGHTS = {
    "crewyard://graph": changed_by(*SUBJECTS),
    "crewyard://graph.mmd": changed_by(*SUBJECTS),
    "crewyard://plan": changed_by(*SUBJECTS),
    "crewyard://tasks/{task_id}": shown_by(task_detail),
}
