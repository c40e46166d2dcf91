"""Workers: places for one agent at a time in a workflow (R-210, R-250 to R-252). Idle, one has no process."""

import difflib
import json

from .. import events, states
from ..errors import Refused, WorkerNotFound
from ..store import Row, Transaction
from ..workflow_sections import Worker
from .pipeline import Pipeline


def get(tx: Transaction, worker_id: str) -> Row:
    """Raises WorkerNotFound, with the nearest id there is. Upper and lower case are the same."""
    row = tx.one("SELECT * FROM worker WHERE worker_id = ?", (worker_id.lower(),))
    if row is None:
        known = [each["worker_id"] for each in tx.all("SELECT worker_id FROM worker ORDER BY worker_id")]
        near = difflib.get_close_matches(worker_id.lower(), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known) or 'none'}."
        raise WorkerNotFound(f"There is no worker {worker_id!r}.", hint=hint, worker_id=worker_id)
    return row


def present(tx: Transaction, workflow: str | None = None) -> list[Row]:
    """Those who are there: not retired."""
    return tx.all(
        "SELECT * FROM worker WHERE status <> 'retired' AND (? IS NULL OR workflow = ?) ORDER BY worker_id",
        (workflow, workflow),
    )


def idle(tx: Transaction, workflow: str, *, now: str | None = None) -> list[Row]:
    """With ``now`` without those whose emergency is over by then: they are about to leave."""
    return tx.all(
        "SELECT * FROM worker WHERE status = 'idle' AND workflow = ? AND coalesce(until, '9') > coalesce(?, '') "
        "ORDER BY worker_id",
        (workflow, now),
    )


def of_agent(tx: Transaction, agent_id: str) -> Row | None:
    """Who is at work by that agent, if it works for anybody."""
    return tx.one(
        "SELECT w.* FROM agent_lifecycle a JOIN queue_item i ON i.task_id = a.task_id AND i.status = 'working' "
        "JOIN worker w ON w.worker_id = i.worker_id AND w.status = 'busy' WHERE a.agent_id = ?",
        (agent_id,),
    )


def crowd(tx: Transaction) -> list[Row]:
    """How many workers there are in each state, and how many items wait for them: what changes when anything does."""
    return tx.all(
        "SELECT workflow, status, count(*) AS count FROM worker GROUP BY 1, 2 UNION ALL "
        "SELECT workflow, 'waiting', count(*) FROM queue_item WHERE status = 'waiting' GROUP BY 1 ORDER BY 1, 2"
    )


def is_complete(tx: Transaction, pipeline: Pipeline) -> bool:
    """Whether each stage has the fewest workers that it may have, or nobody more can come now."""
    have = {
        row[0]: row[1] for row in tx.all("SELECT workflow, count(*) FROM worker WHERE status <> 'retired' GROUP BY 1")
    }
    return all(
        have.get(name, 0) >= pipeline.stage(name).min_workers or next_of(tx, pipeline, name) is None
        for name in pipeline.names
    )


def next_of(tx: Transaction, pipeline: Pipeline, workflow: str) -> Worker | None:
    """The next of the roster who is not there, in this workflow or, on the way to it, in another."""
    there = {row["worker_id"] for row in present(tx)}
    return next((each for each in pipeline.roster(workflow) if each.name not in there), None)


def complete(tx: Transaction, pipeline: Pipeline, *, now: str, actor: str) -> None:
    """Give each stage the fewest workers that it may have, first those of its roster."""
    for name in pipeline.names:
        for _ in range(len(present(tx, name)), pipeline.stage(name).min_workers):
            if next_of(tx, pipeline, name) is not None:
                add(tx, pipeline, name, origin="roster", now=now, actor=actor, why="the least that the workflow has")


def add(
    tx: Transaction,
    pipeline: Pipeline,
    workflow: str,
    *,
    origin: str,
    now: str,
    actor: str,
    why: str,
    until: str | None = None,
) -> Row:
    """The next of the roster who is not there (``next_of``). ``origin`` is roster, scaled or emergency.

    Raises Refused where there is nobody.
    """
    profile = next_of(tx, pipeline, workflow)
    if profile is None:
        raise Refused(
            f"Nobody more can come to {workflow}: its whole roster is there, or still at work in another workflow.",
            hint=f"workers(action='list', workflow={workflow!r}) shows them.",
        )
    agent_type = pipeline.agent_of(workflow, profile)
    facts = (workflow, agent_type, json.dumps(profile.specialities), profile.location, origin, until, now)
    if tx.one("SELECT 1 FROM worker WHERE worker_id = ?", (profile.name,)) is None:
        tx.run(
            "INSERT INTO worker (workflow, agent_type, specialities, location, origin, until, since, worker_id) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*facts, profile.name),
        )
        events.record(
            tx, now=now, actor=actor, subject_type="worker", subject_id=profile.name, kind="worker_idle",
            to_state="idle", workflow=workflow, origin=origin, why=why,
        )  # fmt: skip
    else:
        events.change(
            tx, states.WORKER, profile.name, "idle", now=now, actor=actor, why=why, retired_at=None,
            facts={"workflow": workflow, "origin": origin},
        )  # fmt: skip
        tx.run(
            "UPDATE worker SET workflow = ?, agent_type = ?, specialities = ?, location = ?, origin = ?, until = ?, "
            "since = ? WHERE worker_id = ?",
            (*facts, profile.name),
        )
    return get(tx, profile.name)


def retire(tx: Transaction, worker_id: str, *, now: str, actor: str, why: str) -> None:
    """An idle or offline one goes; raises IllegalTransition for one at work."""
    events.change(
        tx, states.WORKER, worker_id, "retired", now=now, actor=actor, why=why, retired_at=now, offline_since=None
    )


def busy(tx: Transaction, worker_id: str, item_id: int, *, now: str, actor: str) -> None:
    events.change(
        tx, states.WORKER, worker_id, "busy", now=now, actor=actor, facts={"item": item_id}, last_assigned_at=now
    )


def free(tx: Transaction, worker_id: str, *, now: str, actor: str, why: str) -> None:
    """Its item is no longer its own. One that is offline stays so."""
    if get(tx, worker_id)["status"] == "busy":
        events.change(tx, states.WORKER, worker_id, "idle", now=now, actor=actor, why=why)


def offline(tx: Transaction, worker_id: str, *, now: str, actor: str, why: str) -> None:
    """Nothing is given to it until it is restarted (R-248)."""
    events.change(tx, states.WORKER, worker_id, "offline", now=now, actor=actor, why=why, offline_since=now)


def online(tx: Transaction, worker_id: str, *, now: str, actor: str, why: str) -> None:
    events.change(
        tx, states.WORKER, worker_id, "idle", now=now, actor=actor, why=why, offline_since=None, restarted_at=now
    )
