"""Ways out of the review queue: once more, not at all, or back to an earlier stage (G-10, R-261)."""

from dataclasses import dataclass

from .. import events, holds
from ..errors import IllegalTransition, InvalidInput, NoAvailableWork
from ..store import Row, Transaction
from ..wording import stopped
from . import items, projects
from .pipeline import Pipeline


@dataclass(frozen=True)
class Verdict:
    """What somebody decides of a project. ``exit`` is retry, reject or return; ``why`` is told to who gets it next.

    ``workflow`` names the stage that it goes back to; else the queue that is meant, where two stages wait for a word.
    """

    project_id: str
    exit: str
    why: str = ""
    workflow: str = ""


def decide(tx: Transaction, line: Pipeline, verdict: Verdict, *, now: str, actor: str) -> Row:
    """Returns the project as it is then.

    Raises ProjectNotFound, WorkflowNotFound, InvalidInput, NoAvailableWork, IllegalTransition.
    """
    project = projects.get(tx, verdict.project_id)
    if verdict.exit != "retry" and not verdict.why:
        raise InvalidInput(
            f"{verdict.exit} needs a why: who gets the project next, or asks for it, is told so.",
            hint="Say it in a sentence, as `why`.",
        )
    if verdict.workflow:
        line.stage(verdict.workflow)
    item = _judged(tx, project, verdict)
    if verdict.exit == "retry" and item is not None and item["workflow"] not in line.names:
        raise InvalidInput(
            f"There is no workflow {item['workflow']} any more to try it in.",
            hint=f"Return it to one of {', '.join(line.names)}, with exit='return', workflow and why.",
        )
    match verdict.exit:
        case "retry" if item is not None:
            _retry(tx, item, verdict.why, now=now, actor=actor)
        case "return":
            _return(tx, line, project, item, verdict, now=now, actor=actor)
        case _:
            _reject(tx, project, verdict.why, now=now, actor=actor)
    if verdict.exit != "reject":
        holds.lift_stop(tx, now=now, actor=actor)
        _go_on(tx, project, verdict, now=now, actor=actor)
    events.record(
        tx, now=now, actor=actor, subject_type="project", subject_id=verdict.project_id, kind="project_judged",
        exit=verdict.exit, why=verdict.why, workflow=item["workflow"] if item else project["stage"],
        error=item["error_code"] if item else None,
    )  # fmt: skip
    return projects.get(tx, verdict.project_id)


def _judged(tx: Transaction, project: Row, verdict: Verdict) -> Row | None:
    """What waits for the judgement; None of a stopped project that is given up, and of one that was completed."""
    name, status = project["project_id"], project["status"]
    if status == "held" and verdict.exit != "reject":
        raise IllegalTransition(
            f"Project {name} is stopped.", hint=f"projects(action='resume', project_id={name!r}) first."
        )
    found = [each for each in items.open_of(tx, name) if each["status"] == "review"]
    if verdict.workflow and verdict.exit != "return":
        found = [each for each in found if each["workflow"] == verdict.workflow]
    if found:
        return found[0]
    if (status, verdict.exit) in (("held", "reject"), ("completed", "return")):
        return None
    raise NoAvailableWork(
        f"Project {name} does not wait for a judgement{f' in {verdict.workflow}' if verdict.workflow else ''}: it is "
        f"{status}.",
        hint="queues(action='status', workflow='review') lists those that do.",
        project_id=name,
    )


def _retry(tx: Transaction, item: Row, why: str, *, now: str, actor: str) -> None:
    """The same stage again. Where the work was merged, and only what it handed over was wrong, it is a new task."""
    said = why
    task = tx.value("SELECT status FROM specs_task WHERE task_id = ?", (item["task_id"],)) if item["task_id"] else None
    if task == "completed":
        said = f"The work of task {item['task_id']} is merged, but {stopped(item['error_message'])} {why}".rstrip()
    items.put_back(
        tx, item, now=now, actor=actor, why=f"retry: {why}".rstrip(" :"), rework_count=item["rework_count"] + 1,
        review_note=said or None,
    )  # fmt: skip


def _return(
    tx: Transaction, line: Pipeline, project: Row, item: Row | None, verdict: Verdict, *, now: str, actor: str
) -> None:
    """Back to an earlier stage, from which it goes through all that follow again."""
    at = line.names[-1] if item is None else item["workflow"]
    open_to = line.names if item is None else line.before(at)
    target = verdict.workflow or (line.before(at) or [""])[-1]
    if target not in open_to:
        known = ", ".join(open_to) or f"none; {at} is the first"
        raise InvalidInput(
            f"{project['project_id']} cannot go back from {at} to {target or 'an earlier stage'}.",
            hint=f"Stages that it can go back to: {known}.",
        )
    said = verdict.why if item is None else f"{at} failed: {stopped(item['error_message'])} {verdict.why}"
    if item is not None:
        items.drop(tx, item, now=now, actor=actor, why=f"returned to {target}: {verdict.why}")
    if any(line.stage(name).hands_over == "deployed" for name in line.names[line.names.index(target) :]):
        projects.undeployed(tx, project["project_id"], now=now)
    rounds = 1 + (item if item is not None else _last(tx, project["project_id"], at))["rework_count"]
    why = f"returned from {at}: {verdict.why}"
    items.enqueue(tx, project["project_id"], target, now=now, actor=actor, why=why, rework_count=rounds, note=said)


def _last(tx: Transaction, project_id: str, workflow: str) -> Row:
    return items.last_of(tx, project_id, workflow) or tx.only(
        "SELECT * FROM queue_item WHERE project_id = ? ORDER BY item_id DESC LIMIT 1", (project_id,)
    )


def _reject(tx: Transaction, project: Row, why: str, *, now: str, actor: str) -> None:
    """It is given up in every queue; who works for it elsewhere is ended by the next look."""
    for item in items.open_of(tx, project["project_id"]):
        if item["status"] != "working":
            items.drop(tx, item, now=now, actor=actor, why=why)
    projects.change(tx, project["project_id"], "rejected", now=now, actor=actor, why=why)


def _go_on(tx: Transaction, project: Row, verdict: Verdict, *, now: str, actor: str) -> None:
    """It is active again, unless another of its stages waits for a word."""
    still = any(each["status"] == "review" for each in items.open_of(tx, project["project_id"]))
    if not still and project["status"] != "active":
        why = f"{verdict.exit}: {verdict.why}".rstrip(" :")
        projects.change(tx, project["project_id"], "active", now=now, actor=actor, why=why)
