"""What comes after a worker's end: the next stage, the review queue, or another worker (R-232 to R-235).

Nothing is handed over by a call that could be lost: the supervisor looks for items whose task has ended, and one
transaction settles each. A kill between any two leaves the rest to the next look.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import agents, events, reports
from ..errors import CrewyardError, InvalidInput
from ..store import Row, Transaction
from ..workflow_sections import Workflows
from . import failover, forecasts, items, pipeline, projects, workers
from .pipeline import DEPLOYMENT, Pipeline

NO_OUTPUT = "output_missing"
MOST_OUTPUT = 262_144  # characters


@dataclass(frozen=True)
class Left:
    """The output that an agent left in a file; or what is wrong with that file."""

    output: Mapping[str, Any] | None = None
    fault: str = ""


@dataclass(frozen=True)
class Word:
    """What an agent reports of its work, with what its stage asks for."""

    agent_id: str
    kind: str
    summary: str = ""
    no_change: bool = False
    output: Mapping[str, Any] | None = None


def report(tx: Transaction, workflows: Workflows | None, word: Word, *, now: str) -> None:
    """Keep it, and what follows from it for its project. Raises InvalidInput where the output is not as asked for."""
    _require_json(word.output)
    task_id = agents.get(tx, word.agent_id)["task_id"]
    item = None if task_id is None else items.of_task(tx, task_id)
    if item is not None and workflows is not None and item["workflow"] in workflows.stages:
        _reported(tx, Pipeline(workflows), item, word, now=now)
    elif item is None and word.output is not None:
        raise InvalidInput("Nothing asks for an output here.", hint="Leave it out.")
    reports.record(tx, word.agent_id, word.kind, word.summary, now=now, no_change=word.no_change, output=word.output)


def _require_json(output: Mapping[str, Any] | None) -> None:
    """Raises InvalidInput for what no JSON can hold."""
    try:
        text = json.dumps(output, allow_nan=False)
    except ValueError as error:
        raise InvalidInput(f"The output is no JSON: {error}.", hint="Leave out what is not known.") from error
    if len(text) > MOST_OUTPUT:
        raise InvalidInput(f"The output has {len(text)} characters; {MOST_OUTPUT} is the limit.", hint="Name a file.")


def to_settle(tx: Transaction, item_id: int | None = None) -> list[Row]:
    """Items whose task is in no agent's hand any more, with how it ended; or that one, if it is so."""
    return tx.all(
        "SELECT i.*, t.status AS task_status, t.error_code AS task_error, t.error_message AS task_message, "
        "p.status AS project_status FROM queue_item i INDEXED BY queue_item_one_per_worker "
        "JOIN specs_task t USING (task_id) JOIN project p USING (project_id) "
        "WHERE i.status = 'working' AND t.status NOT IN ('assigned', 'in_progress') "
        "AND (:item IS NULL OR i.item_id = :item) ORDER BY i.item_id",
        {"item": item_id},
    )


def settle(tx: Transaction, line: Pipeline, item_id: int, left: Left, *, now: str, actor: str) -> None:
    """What follows from the end of an item's task."""
    for item in to_settle(tx, item_id):  # none, where somebody was faster
        _settle(tx, line, item, left, now=now, actor=actor)


def settle_by_hand(tx: Transaction, item_id: int, *, now: str, actor: str) -> None:
    """It could not be settled otherwise; a person sees what became of it."""
    for item in to_settle(tx, item_id):
        why = "What follows from its end could not be recorded; the supervisor's log has more."
        to_review(tx, item, CrewyardError.code, why, now=now, actor=actor)


def _settle(tx: Transaction, line: Pipeline, item: Row, left: Left, *, now: str, actor: str) -> None:
    match item["task_status"]:
        case _ if item["project_status"] == "rejected":
            items.drop(tx, item, now=now, actor=actor, why="its project is rejected")
        case "completed":
            _completed(tx, line, item, left, now=now, actor=actor)
        case "failed":
            code, said = item["task_error"] or "agent_failed", item["task_message"] or ""
            to_review(tx, item, code, said, now=now, actor=actor)
        case "cancelled":
            items.drop(tx, item, now=now, actor=actor, why="its task was cancelled")
            _reject_idle_project(tx, item["project_id"], "its task was cancelled", now=now, actor=actor)
        case _ if item["project_status"] == "held":
            items.ended(tx, item, "held", "held", now=now, actor=actor, why="its project is stopped")
        case _ if workers.get(tx, item["worker_id"])["status"] == "offline":
            _failed_over(tx, item, now=now, actor=actor)
        case _:
            items.ended(tx, item, "waiting", "released", now=now, actor=actor, why="its agent gave it back")


def _failed_over(tx: Transaction, item: Row, *, now: str, actor: str) -> None:
    """Its worker fell silent, and another one gets it; unless so many did over it that it may be its own fault."""
    times = 1 + failover.times_of_item(tx, item["item_id"])
    if times >= failover.MOST * (1 + item["rework_count"]):
        why = f"{times} workers fell silent over it, the last was {item['worker_id']}"
        to_review(tx, item, agents.STALLED, why, outcome="failed_over", now=now, actor=actor)
    else:
        why = f"{item['worker_id']} fell silent"
        items.ended(tx, item, "waiting", "failed_over", now=now, actor=actor, why=why)


def _completed(tx: Transaction, line: Pipeline, item: Row, left: Left, *, now: str, actor: str) -> None:
    output = reports.output_of(tx, item["task_id"]) or (None if left.output is None else dict(left.output))
    try:
        if output is None and left.fault:
            raise InvalidInput(f"The output of {item['workflow']} cannot be read: {left.fault}.")
        pipeline.check_output(item["workflow"], line.stage(item["workflow"]), output)
    except CrewyardError as error:
        to_review(tx, item, NO_OUTPUT, error.message, now=now, actor=actor)
        return
    items.ended(
        tx, item, "done", "done", now=now, actor=actor, why="the evidence of its work holds",
        output=None if output is None else json.dumps(output),
    )  # fmt: skip
    forecasts.came_true(tx, item["project_id"], item["workflow"], now=now)
    if output is not None:
        projects.learned(tx, item["project_id"], output, now=now)
    project = projects.get(tx, item["project_id"])
    _record(tx, project, f"{item['workflow']}_complete", output or {}, now=now, actor=actor)
    hand_over(tx, line, items.get(tx, item["item_id"]), now=now, actor=actor)


def hand_over(tx: Transaction, line: Pipeline, item: Row, *, now: str, actor: str) -> None:
    """Queue the project for the next stage where this one has what that takes; complete it after the last."""
    project = projects.get(tx, item["project_id"])
    if project["status"] == "rejected":
        return
    following, stage = line.after(item["workflow"]), line.settings.stages.get(item["workflow"])
    waits_for_deployment = stage is not None and stage.hands_over == "deployed" and not project["deployment_url"]
    if following is not None and waits_for_deployment:
        return
    if following is not None and item["handed_over_at"] is None:
        tx.run("UPDATE queue_item SET handed_over_at = ? WHERE item_id = ?", (now, item["item_id"]))
        if items.of_workflow(tx, project["project_id"], following) is None:
            why = f"{item['workflow']} handed it over"
            items.enqueue(tx, project["project_id"], following, now=now, actor=actor, why=why)
    # A project that was handed over at its deployment may be through the next stage before this one's worker ends.
    is_behind = following is None or item["handed_over_at"] is not None
    if is_behind:
        complete_idle_project(tx, project["project_id"], now=now, actor=actor)


def complete_idle_project(tx: Transaction, project_id: str, *, now: str, actor: str) -> None:
    """Its last stage is done: with the end of all that is open it is through, unless it is stopped."""
    if not items.open_of(tx, project_id) and projects.get(tx, project_id)["status"] == "active":
        projects.change(tx, project_id, "completed", now=now, actor=actor, why="its last stage is done")


def _reported(tx: Transaction, line: Pipeline, item: Row, word: Word, *, now: str) -> None:
    """Progress with a deployment_url is the milestone that hands a project over while its worker goes on (G-09); other
    milestones are recorded."""
    stage = line.stage(item["workflow"])
    if word.kind == "complete":
        pipeline.check_output(item["workflow"], stage, word.output)
    elif word.output is not None:
        project = projects.get(tx, item["project_id"])
        _record(tx, project, f"{item['workflow']}_milestone", dict(word.output), now=now, actor=word.agent_id)
        projects.learned(tx, item["project_id"], dict(word.output), now=now)
        if stage.hands_over == "deployed" and word.output.get(DEPLOYMENT):
            hand_over(tx, line, item, now=now, actor=word.agent_id)


def to_review(
    tx: Transaction, item: Row, code: str, message: str, *, now: str, actor: str, outcome: str = "review"
) -> None:
    """Its project waits for a judgement, with the error that brought it there (R-235)."""
    items.ended(tx, item, "review", outcome, now=now, actor=actor, why=message, error_code=code, error_message=message)
    if projects.get(tx, item["project_id"])["status"] == "active":
        projects.change(tx, item["project_id"], "review", now=now, actor=actor, why=f"{item['workflow']}: {code}")


def _reject_idle_project(tx: Transaction, project_id: str, why: str, *, now: str, actor: str) -> None:
    if not items.open_of(tx, project_id):
        projects.change(tx, project_id, "rejected", now=now, actor=actor, why=why)


def _record(tx: Transaction, project: Row, kind: str, output: dict[str, Any], *, now: str, actor: str) -> None:
    """One of the events of R-236; its data is what the worker reported, as it reported it."""
    events.record(
        tx, now=now, actor=actor, subject_type="project", subject_id=project["project_id"], kind=kind, output=output,
        repository_url=project["repository_url"], deployment_url=project["deployment_url"],
    )  # fmt: skip
