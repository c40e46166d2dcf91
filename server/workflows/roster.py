"""Brings who and what is there in line with the stages as they are configured now, whatever they were before."""

import json
from typing import Any

from .. import events
from ..errors import WorkflowNotFound
from ..store import Row, Transaction
from . import flow, workers
from .pipeline import Pipeline

GONE = "it is in no roster any more"


def is_in_order(tx: Transaction, line: Pipeline) -> bool:
    """Whether each stage has its fewest workers, each is as configured, and nothing waits for a stage that is gone."""
    return workers.is_complete(tx, line) and not _strangers(tx, line) and not _stranded(tx, line)


def put_in_order(tx: Transaction, line: Pipeline, *, now: str, actor: str) -> None:
    """Who is not at work becomes as configured, or leaves; who is at work does so afterwards."""
    for row in _stranded(tx, line):
        why = f"There is no workflow {row['workflow']} any more; there are {', '.join(line.names)}."
        flow.to_review(tx, row, WorkflowNotFound.code, why, now=now, actor=actor)
    for row, facts in _strangers(tx, line):
        if facts is None:
            workers.retire(tx, row["worker_id"], now=now, actor=actor, why=GONE)
        else:
            _reconfigure(tx, row, facts, now=now, actor=actor)
    workers.complete(tx, line, now=now, actor=actor)


def _strangers(tx: Transaction, line: Pipeline) -> list[tuple[Row, dict[str, Any] | None]]:
    """Those not at work who are not as configured, with what they should be; None for who should not be there."""
    found = []
    present = workers.present(tx)
    names = {row["worker_id"] for row in present}
    for row in present:
        if row["status"] == "busy":
            continue
        facts = _facts(line, row, names)
        if facts is None or any(row[key] != value for key, value in facts.items()):
            found.append((row, facts))
    return found


def _facts(line: Pipeline, row: Row, present: set[str]) -> dict[str, Any] | None:
    """One without a profile leaves for one that was given one meanwhile."""
    if row["workflow"] not in line.names:
        return None
    named = {each.name for each in line.stage(row["workflow"]).workers}
    if row["worker_id"] not in named and named - present:
        return None
    profile = next((each for each in line.roster(row["workflow"]) if each.name == row["worker_id"]), None)
    if profile is None:
        return None
    return {
        "agent_type": line.agent_of(row["workflow"], profile),
        "specialities": json.dumps(profile.specialities),
        "location": profile.location,
    }


def _reconfigure(tx: Transaction, row: Row, facts: dict[str, Any], *, now: str, actor: str) -> None:
    tx.run(
        "UPDATE worker SET agent_type = :agent_type, specialities = :specialities, location = :location "
        "WHERE worker_id = :worker",
        {**facts, "worker": row["worker_id"]},
    )
    events.record(
        tx, now=now, actor=actor, subject_type="worker", subject_id=row["worker_id"], kind="worker_reconfigured",
        before={key: row[key] for key in facts}, **facts,
    )  # fmt: skip


def _stranded(tx: Transaction, line: Pipeline) -> list[Row]:
    return tx.all(
        "SELECT * FROM queue_item WHERE status = 'waiting' AND workflow NOT IN (SELECT value FROM json_each(?))",
        (json.dumps(line.names),),
    )
