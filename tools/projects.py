"""``projects``: what flows through the stages of [workflows]: dispatch it, see how far it is, stop it, go on."""

import errno
import stat
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from ..server import clock
from ..server.errors import InvalidInput
from ..server.store import Row, Transaction
from ..server.wording import cut
from ..server.workflows import dossiers, intake, items, pipeline, stops, triggers
from ..server.workflows import projects as domain
from ..server.workflows.pipeline import Pipeline
from ..server.workflows.projects import Draft
from ..server.yard import Yard
from .shape import Call, Cursor, Limit, Result, page, refuse_others, required, text_of, tool, yard_of

MOST_BYTES = 4_000_000
TEXT_SHOWN = 1_500
TAKES = {
    "status": {"project_id", "workflow", "limit", "cursor"},
    "dispatch": {"input", "path", "batch", "kind", "complexity", "level", "location"},
    "trigger": {"project_id", "workflow", "input"},
    "emergency_stop": {"project_id", "why"},
    "resume": {"project_id", "why"},
}


class Project(BaseModel):
    project_id: str
    title: str
    status: str
    stage: str
    level: str
    created_at: str
    queues: list[str]


class ProjectsResult(Result):
    projects: list[Project] | None = None
    counts: dict[str, int] | None = None
    total: int | None = None
    project: dict[str, Any] | None = None
    held: list[str] | None = None
    ending: list[str] | None = None


async def projects(
    call: Call,
    action: Literal["status", "dispatch", "trigger", "emergency_stop", "resume"] = "status",
    project_id: Annotated[str, Field(description="or its repository_url")] = "",
    input: Annotated[str, Field(description="dispatch: text or issue URL; trigger: deployment_url")] = "",  # noqa: A002
    path: Annotated[str, Field(description="dispatch: a file in the repository")] = "",
    batch: Annotated[bool, Field(description="path lists a project a line, or is JSON")] = False,
    kind: str = "",
    complexity: Literal["", "simple", "standard", "complex"] = "",
    level: Annotated[str, Field(description="urgent, high, normal, low")] = "",
    location: str = "",
    workflow: Annotated[str, Field(description="trigger: default the next stage; status: filter")] = "",
    why: str = "",
    limit: Limit | None = None,
    cursor: Cursor = "",
) -> ProjectsResult:
    given = {name: value for name, value in locals().items() if name not in ("call", "action")}
    refuse_others(action, TAKES, given)
    yard = yard_of(call)
    line = pipeline.of(yard.settings.workflows)
    if action not in ("status", "dispatch"):
        required(action, "project_id", project_id, hint="projects(action='status') lists them.")
    match action:
        case "status":
            if project_id:
                return await _one(yard, project_id)
            return await _list(yard, line, workflow, limit or 50, cursor)
        case "dispatch":
            like = Draft("", kind=kind, complexity=complexity, location=location, priority=_level(level))
            return await _dispatch(yard, line, input, path, batch=batch, like=like)
        case "trigger":
            return await _trigger(yard, line, project_id, workflow, input)
        case "emergency_stop":
            return await _stop(yard, project_id, why)
        case _:
            return await _resume(yard, line, project_id, why)


async def _list(yard: Yard, line: Pipeline, workflow: str, limit: int, cursor: str) -> ProjectsResult:
    if workflow:
        line.stage(workflow)
    found, counts = await yard.store.read(_listed, workflow or None, cursor, limit + 1)
    shown, next_cursor = page(found, key=lambda each: each.project_id, limit=limit)
    return ProjectsResult(
        action="status", projects=shown, counts=counts, total=sum(counts.values()), next_cursor=next_cursor
    )


def _listed(tx: Transaction, stage: str | None, before: str, limit: int) -> tuple[list[Project], dict[str, int]]:
    if before:
        domain.get(tx, before)
    rows = domain.listed(tx, stage=stage, before=before, limit=limit)
    return [_shown(tx, row) for row in rows], domain.counts(tx, stage=stage)


def _shown(tx: Transaction, row: Row) -> Project:
    places = items.open_of(tx, row["project_id"])
    return Project(
        project_id=row["project_id"],
        title=cut(row["title"], 80),
        status=row["status"],
        stage=row["stage"],
        level=domain.level_name(row["priority"]),
        created_at=row["created_at"],
        queues=[_place(each) for each in places],
    )


def _place(item: Row) -> str:
    who = item["worker_id"] if item["status"] == "working" else item["wanted_worker"]
    return f"{item['workflow']}: {item['status']}{f' ({who})' if who else ''}"


async def _one(yard: Yard, project_id: str) -> ProjectsResult:
    """Whole, but for long texts; the resource has these in full."""
    found = await yard.store.read(_of_name, project_id)
    found["input"] = cut(found["input"], TEXT_SHOWN)
    found["title"] = cut(found["title"], 80)
    found["items"] = found["items"][-10:]
    for item in found["items"]:
        for name in {"error_message", "output"} & item.keys():
            item[name] = cut(item[name] if name == "error_message" else text_of(item[name]), 300)
    return ProjectsResult(
        action="status", project=found, note=f"crewyard://projects/{found['project_id']} has it whole."
    )


def _of_name(tx: Transaction, name: str) -> dict[str, Any]:
    return dossiers.whole(tx, domain.by_repository(tx, name)["project_id"])


def _level(level: str) -> int:
    return domain.level(level or "normal")


async def _dispatch(yard: Yard, line: Pipeline, text: str, path: str, *, batch: bool, like: Draft) -> ProjectsResult:
    if bool(text) == bool(path):
        raise InvalidInput(
            "dispatch needs an input or a path, and not both.", hint="projects(action='dispatch', input='Make …')"
        )
    if batch and not path:
        raise InvalidInput("batch needs a path.", hint="projects(action='dispatch', path='projects.txt', batch=true)")
    if path:
        content = await anyio.to_thread.run_sync(_read, yard.root, path)
        drafts = intake.of_batch(path, content, like) if batch else [intake.of_file(path, content, like)]
    else:
        drafts = [intake.of_text(text, like)]
    await yard.operations.require_fit(line.agent_types)
    caller = await yard.caller()
    made = await yard.run(caller, _dispatched, line, drafts, now=clock.now(), actor=caller.name)
    shown, more = page(made, key=lambda each: each.project_id, limit=len(made) + 1)
    note = "projects(action='status') lists them all." if more else None
    return ProjectsResult(action="dispatch", projects=shown, total=len(made), note=note)


def _dispatched(tx: Transaction, line: Pipeline, drafts: list[Draft], *, now: str, actor: str) -> list[Project]:
    return [_shown(tx, row) for row in intake.dispatch(tx, line, drafts, now=now, actor=actor)]


def _read(root: Path, name: str) -> bytes:
    """The file's bytes. Raises InvalidInput where it is no file of the repository, or too large."""
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise InvalidInput(f"{name} lies outside the repository.", hint="Give a path from the repository's root.")
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidInput(f"{name} is no file.", hint="A folder, a pipe or a device is not read.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (ValueError, RuntimeError) as error:  # a NUL, a lone surrogate, links in a circle
        raise InvalidInput(
            f"{name!r} names no file: {error}.", hint="Give a path from the repository's root."
        ) from error
    except OSError as error:
        what = "There is no file" if error.errno == errno.ENOENT else f"{error.strerror}:"
        raise InvalidInput(f"{what} {name}.", hint="Give a path from the repository's root.") from error
    if len(content) > MOST_BYTES:
        raise InvalidInput(f"{name} is larger than {MOST_BYTES // 1_000_000} MB.", hint="Divide it.")
    return content


async def _trigger(yard: Yard, line: Pipeline, name: str, workflow: str, deployed_at: str) -> ProjectsResult:
    caller = await yard.caller()
    given: dict[str, Any] = {"deployed_at": deployed_at, "now": clock.now(), "actor": caller.name}
    shown = await yard.run(caller, _triggered, line, name, workflow, **given)
    return ProjectsResult(action="trigger", projects=[shown])


def _triggered(tx: Transaction, /, line: Pipeline, name: str, workflow: str, **given: Any) -> Project:
    item = triggers.trigger(tx, line, name, workflow, **given)
    return _shown(tx, domain.get(tx, item["project_id"]))


async def _stop(yard: Yard, project_id: str, why: str) -> ProjectsResult:
    caller = await yard.caller()
    given: dict[str, Any] = {
        "why": why,
        "grace_seconds": yard.settings.crew.grace_period_seconds,
        "now": clock.now(),
        "actor": caller.name,
    }
    done, shown = await yard.run(caller, _stopped, project_id, **given)
    kept = "Its agents end now and keep their work. " if done.ending else ""
    note = f"{kept}Nothing of it starts before projects(action='resume', project_id={shown.project_id!r})."
    return ProjectsResult(action="emergency_stop", projects=[shown], held=done.held, ending=done.ending, note=note)


def _stopped(tx: Transaction, /, name: str, **given: Any) -> tuple[stops.Stopped, Project]:
    done = stops.stop(tx, domain.by_repository(tx, name)["project_id"], **given)
    return done, _shown(tx, done.project)


async def _resume(yard: Yard, line: Pipeline, project_id: str, why: str) -> ProjectsResult:
    caller = await yard.caller()
    given: dict[str, Any] = {"why": why, "now": clock.now(), "actor": caller.name}
    return ProjectsResult(action="resume", projects=[await yard.run(caller, _resumed, line, project_id, **given)])


def _resumed(tx: Transaction, /, line: Pipeline, name: str, **given: Any) -> Project:
    return _shown(tx, stops.resume(tx, line, domain.by_repository(tx, name)["project_id"], **given))


def lead_tool() -> Tool:
    return tool(
        projects,
        name="projects",
        description="Projects that flow through workflows: dispatch new ones, status, trigger a stage, stop, resume.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False),
    )
