"""What agents wanted to do and were not allowed to: recorded, and told once a type with the setting that allows it."""

import json
from collections.abc import Sequence

from . import agents, alerts, events, kinds
from .store import Row, Transaction
from .wording import counted, cut

MOST = 20
LENGTH = 200


def note(tx: Transaction, agent: Row, wanted: Sequence[str], *, now: str, actor: str) -> None:
    """Record what the agent's program was refused; tell a person of what none of its type was refused before."""
    what = list(dict.fromkeys(cut(" ".join(each.split()), LENGTH) for each in wanted))[:MOST]
    known = _known(tx, agent)
    tx.run(
        "UPDATE agent_lifecycle SET metadata = json_set(metadata, '$.denied', json(?)) WHERE agent_id = ?",
        (json.dumps(what), agent["agent_id"]),
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="agent",
        subject_id=agent["agent_id"],
        kind="agent_denied",
        task_id=agent["task_id"],
        denied=what,
    )
    if news := [each for each in what if each not in known]:
        title = f"Agents of type {agent['agent_type']} are refused {counted(len(news), 'permission')}"
        alerts.alert(
            tx, "warning", title, f"{agent['agent_id']} was not allowed: {', '.join(news)}. {_cure(agent, news)}",
            now=now, agent=agent["agent_id"], task_id=agent["task_id"], denied=news,
        )  # fmt: skip


def told(tx: Transaction, agent_id: str) -> str:
    """What is said of an agent's failure beside how it failed; nothing where it was refused nothing.

    How it can be allowed is for a person to read, not for the next agent.
    """
    what = _of(agents.get(tx, agent_id))
    return f"It was not allowed: {', '.join(what)}." if what else ""


def cure_of(tx: Transaction, agent_id: str) -> str:
    """The setting that allows what the agent was refused; nothing where it was refused nothing."""
    agent = agents.get(tx, agent_id)
    what = _of(agent)
    return _cure(agent, what) if what else ""


def _cure(agent: Row, what: Sequence[str]) -> str:
    table = f"[agents.{agent['agent_type']}] of crewyard.toml"
    if kinds.named(agent["kind"]).takes_allow:
        return f"If it should be allowed, add it to {table}: allow = {json.dumps(list(what))}."
    return f"If it should be allowed, permissions in {table} is what widens what it may do."


def _of(agent: Row) -> list[str]:
    what: list[str] = json.loads(agent["metadata"]).get("denied", [])
    return what


def _known(tx: Transaction, agent: Row) -> set[str]:
    rows = tx.all(
        "SELECT DISTINCT j.value FROM agent_lifecycle a, json_each(a.metadata, '$.denied') j "
        "WHERE a.agent_type = ? AND a.agent_id <> ?",
        (agent["agent_type"], agent["agent_id"]),
    )
    return {row["value"] for row in rows}
