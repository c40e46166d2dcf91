"""``crewyard://projects/{project_id}`` and ``crewyard://queues``: what flows through the stages of [workflows]."""

from dataclasses import asdict
from typing import Any

from mcp.server.mcpserver import MCPServer

from ..server import clock
from ..server.store import Transaction
from ..server.workflows import dossiers, pipeline, queues
from ..server.workflows import projects as domain
from ..server.workflows.pipeline import Pipeline
from ..server.yard import Yard
from .reading import JSON, changed_by, read, shown_by, to_json

MOST_SHOWN = 1_000


def register(app: MCPServer[Yard], yard: Yard) -> None:
    line = pipeline.of(yard.settings.workflows)

    @app.resource("crewyard://queues", mime_type=JSON, description="Each workflow's queue, and what waits for review.")
    async def all_queues() -> str:
        return to_json(await read(yard, standing, line, now=clock.now()))

    @app.resource(
        "crewyard://projects/{project_id}", mime_type=JSON, description="One project: its stages, outputs and history."
    )
    async def one_project(project_id: str) -> str:
        return to_json(await read(yard, dossiers.whole, project_id))


def standing(tx: Transaction, line: Pipeline, *, now: str) -> dict[str, Any]:
    return {
        "at": now,
        "projects": domain.counts(tx),
        "queues": [
            asdict(each)
            | {"items": [_place(row) for row in queues.backlog(tx, workflow=each.workflow, limit=MOST_SHOWN)]}
            for each in queues.standing(tx, line, now=now)
        ],
        "review": [_place(row) for row in queues.backlog(tx, workflow=queues.REVIEW, limit=MOST_SHOWN)],
    }


def _place(row: Any) -> dict[str, Any]:
    shown = {key: row[key] for key in dossiers.KEPT} | {
        "project_id": row["project_id"], "title": row["title"], "level": domain.level_name(row["priority"]),
    }  # fmt: skip
    return {key: value for key, value in shown.items() if value is not None}


SIGHTS = {
    "crewyard://queues": changed_by("project", "item", "worker"),
    "crewyard://projects/{project_id}": shown_by(dossiers.whole),
}
