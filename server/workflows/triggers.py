"""A stage that somebody begins by hand, where the one before is done (R-217, R-218)."""

from .. import events, holds
from ..errors import IllegalTransition, InvalidInput
from ..next_calls import call
from ..store import Row, Transaction
from . import items, projects
from .pipeline import DEPLOYMENT, Pipeline


def trigger(
    tx: Transaction, line: Pipeline, name: str, workflow: str = "", *, deployed_at: str = "", now: str, actor: str
) -> Row:
    """Queue the project of that id or repository for the stage; without ``workflow`` for the next one.

    ``deployed_at`` tells where it was deployed, of one whose worker has not said so. Returns the item. Raises
    ProjectNotFound, WorkflowNotFound, InvalidInput, IllegalTransition.
    """
    project = projects.by_repository(tx, name)
    _require_active(project)
    target = workflow or line.after(project["stage"])
    if target is None:
        raise InvalidInput(
            f"After {project['stage']} comes no other workflow.",
            hint=call("projects", action="status", project_id=project["project_id"]),
        )
    line.stage(target)
    before = (line.before(target) or [""])[-1]
    if not before:
        raise InvalidInput(
            f"{target} is where projects begin.", hint=call("projects", action="dispatch", input="…")
        )  # fmt: skip
    if deployed_at:
        project = _deployed(tx, project, before, deployed_at, now=now, actor=actor)
    _require_ready(tx, line, project, before, target)
    holds.lift_stop(tx, now=now, actor=actor)
    done = items.last_of(tx, project["project_id"], before)
    row = items.enqueue(tx, project["project_id"], target, now=now, actor=actor, why=f"triggered by {actor}")
    if done is not None and done["handed_over_at"] is None:
        tx.run("UPDATE queue_item SET handed_over_at = ? WHERE item_id = ?", (now, done["item_id"]))
    return row


def _require_active(project: Row) -> None:
    name, status = project["project_id"], project["status"]
    hints = {
        "held": call("projects", action="resume", project_id=name),
        "review": call("queues", action="review", project_id=name, exit="retry"),
        "completed": call("queues", action="review", project_id=name, exit="return", workflow="…", why="…"),
        "rejected": call("projects", action="dispatch", input="…"),
    }
    if status != "active":
        raise IllegalTransition(f"Project {name} is {status}.", hint=f"{hints[status]} first.", project_id=name)


def _deployed(tx: Transaction, project: Row, stage: str, url: str, *, now: str, actor: str) -> Row:
    """The milestone as its worker would have told it (R-233)."""
    if "://" not in url or len(url.split()) != 1:
        raise InvalidInput(f"{url!r} is no URL.", hint="input is where the project was deployed: https://…")
    name = project["project_id"]
    projects.learned(tx, name, {DEPLOYMENT: url}, now=now)
    events.record(
        tx, now=now, actor=actor, subject_type="project", subject_id=name, kind=f"{stage}_milestone",
        output={DEPLOYMENT: url}, repository_url=project["repository_url"], deployment_url=url,
    )  # fmt: skip
    return projects.get(tx, name)


def _require_ready(tx: Transaction, line: Pipeline, project: Row, before: str, target: str) -> None:
    """Raises IllegalTransition where the stage before has not handed over what this one begins with."""
    name = project["project_id"]
    if line.stage(before).hands_over == "deployed":
        if not project["deployment_url"]:
            again = call("projects", action="trigger", project_id=name, workflow=target, input="…")
            raise IllegalTransition(
                f"Project {name} is not deployed, and {target} begins with that.",
                hint=f"Its worker reports a deployment_url; {again} tells it in its place.",
                project_id=name,
            )
        return
    last = items.last_of(tx, name, before)
    if last is None or last["status"] != "done":
        stands = "has not been in it" if last is None else f"is {last['status']} there"
        raise IllegalTransition(
            f"Project {name} is not through {before}: it {stands}.", hint=call("why", subject=name), project_id=name
        )
