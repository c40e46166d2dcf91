"""The commands of document 003 as prompts: how what they name stands at that moment, and the call to make of each."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from .. import why_workflows
from ..store import Row, Transaction
from ..wording import cut
from ..workflow_commands import WorkflowCommand, checking, commands, lines
from ..workflow_sections import Workflows
from ..workflows import items, workers
from ..workflows.pipeline import Pipeline
from . import status
from .base import FIRST_WORD, NOT_INSTRUCTIONS, Argument, SlashCommand, Standing

ONE = "Call {call} and tell the user in a few words what came of it."
SEVERAL = "Make these calls in this order, each whatever came of the one before:"
LOOKS = "Then tell the user in a few sentences what there is to know; why(subject=ID) explains any id."
ACTS = "Then tell the user what came of each."
REFUSED = "Where it is refused, say why and what its hint proposes; do nothing else unasked."
SAID_LENGTH = 600


def of(workflows: Workflows) -> tuple[SlashCommand, ...]:
    pipeline = Pipeline(workflows)
    return tuple(_prompt(pipeline, command) for command in commands(pipeline.names))


def _prompt(pipeline: Pipeline, command: WorkflowCommand) -> SlashCommand:
    arguments = (
        Argument(each.name, each.description, each.required, checking.values(each, pipeline.names))
        for each in command.placed
    )
    return SlashCommand(
        name=command.name,
        title=command.title,
        description=command.purpose,
        text=partial(_text, pipeline, command),
        arguments=tuple(arguments),
    )


def _text(pipeline: Pipeline, command: WorkflowCommand, tx: Transaction, typed: Mapping[str, str], at: Standing) -> str:
    """Raises InvalidInput and what is not found: a wrong name is told to whoever typed it, not to a model."""
    given = lines.filled(command, typed)
    rows = checking.check(tx, pipeline, command, given)
    now = "\n".join(f"- {each}" for each in [*_named(tx, rows, at), *standing(tx, pipeline)])
    parts = [
        f"The user has given the command /{command.name}: {command.purpose}",
        f"Now:\n{now}",
        status.standing(tx, at) if command.name == "status" else "",
        _what_to_do(command, given),
        FIRST_WORD if _may_be_cut(command, given) else "",
        NOT_INSTRUCTIONS,
    ]
    return "\n\n".join(part for part in parts if part)


def _what_to_do(command: WorkflowCommand, given: Mapping[str, Any]) -> str:
    calls = command.calls(given)
    if len(calls) == 1 and not command.opens_incident:
        return f"{ONE.format(call=calls[0])} {REFUSED}"
    listed = [f"{number}. {each}" for number, each in enumerate(calls, 1)]
    if command.opens_incident:
        listed.append(
            f"{len(calls) + 1}. analytics(action='incident_report', reason='{command.name}', details='…') with what "
            "came of it"
        )
    return "\n".join([SEVERAL, *listed, LOOKS if command.only_looks else ACTS])


def _may_be_cut(command: WorkflowCommand, given: Mapping[str, Any]) -> bool:
    return any(each.takes_rest and len(str(given.get(each.name, "")).split()) == 1 for each in command.placed)


def _named(tx: Transaction, rows: list[Row], at: Standing) -> list[str]:
    """How the projects and workers stand that the command names."""
    found = []
    for row in rows:
        told = why_workflows.of_worker if "worker_id" in row.keys() else why_workflows.of_project  # noqa: SIM118
        found.append(cut(told(tx, row, at.now, at.bounds)[0], SAID_LENGTH))
    return found


def standing(tx: Transaction, pipeline: Pipeline) -> list[str]:
    """The queues and workers in a line each, and what is wrong."""
    told = [_stage(tx, name) for name in pipeline.names]
    in_review = tx.value("SELECT count(*) FROM queue_item WHERE status = 'review'")
    alerts = tx.all("SELECT kind, subject FROM workflow_alert WHERE ended_at IS NULL ORDER BY alert_id")
    open_alerts = ", ".join(f"{row['kind']} {row['subject']}" for row in alerts[:10])
    return [*told, f"review: {in_review} waiting", f"alerts: {cut(open_alerts, SAID_LENGTH) or 'none'}"]


def _stage(tx: Transaction, name: str) -> str:
    have = dict(
        tuple(row)
        for row in tx.all("SELECT status, count(*) FROM queue_item WHERE workflow = ? GROUP BY status", (name,))
    )
    crew = [row["status"] for row in workers.present(tx, name)]
    hands = ", ".join(f"{crew.count(state)} {state}" for state in ("busy", "idle", "offline") if crew.count(state))
    held = f", {have['held']} held" if have.get("held") else ""
    return (
        f"{name}: {items.depth(tx, name)} waiting, {have.get('working', 0)} in work{held}; workers: {hands or 'none'}"
    )
