"""Who can be written to, and which mail is whose (contract 9, G-15).

Mail goes to ``lead``, to an agent id, or to an agent type. Mail to a type belongs to whichever agent of that type takes
it first. An agent that was started in place of another, for the same task, also reads its predecessor's mail.
"""

import difflib
from collections.abc import Collection

from . import states
from .errors import UnknownRecipient
from .store import Row, Transaction

LEAD = "lead"
SYSTEM = "crewyard"
EVERYONE = "ALL"


def resolve(tx: Transaction, target: str, *, sender: str, agent_types: Collection[str]) -> list[str]:
    """The mailboxes that ``target`` stands for.

    Raises UnknownRecipient, with the nearest known name, or where nobody will ever read what is sent there.
    """
    if target.upper() == EVERYONE:
        return everyone(tx, sender=sender, agent_types=agent_types)
    found = box(tx, target, agent_types=agent_types)
    agent = _agent(tx, found) if found not in (LEAD, *agent_types) else None
    if agent is not None and _has_no_successor(agent):
        done = f", and its task {agent['task_id']} is done" if agent["task_id"] else ""
        raise UnknownRecipient(
            f"Agent {found} has ended{done}: nobody would read that.",
            hint=f"Write to {agent['agent_type']!r}, any agent of that type, or to {LEAD!r}.",
            target=target,
        )
    return [found]


def box(tx: Transaction, name: str, *, agent_types: Collection[str]) -> str:
    """The mailbox of that name. Raises UnknownRecipient, with the nearest known name."""
    wanted = LEAD if name == "orchestrator" and name not in agent_types else name
    for candidate in (wanted, wanted.replace("-", "_")):
        if candidate == LEAD or candidate in agent_types or _agent(tx, candidate) or is_type(tx, candidate):
            return candidate
    known = [LEAD, EVERYONE, *sorted(agent_types), *_live_ids(tx)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known[:20])}."
    raise UnknownRecipient(f"Nobody is called {name!r}.", hint=hint, target=name)


def everyone(tx: Transaction, *, sender: str, agent_types: Collection[str]) -> list[str]:
    """The lead, each live agent, and each configured type that has none alive; never the sender."""
    live = tx.all("SELECT agent_id, agent_type FROM agent_lifecycle WHERE status IN ('starting', 'running')")
    present = {row["agent_type"] for row in live}
    boxes = [LEAD, *sorted(row["agent_id"] for row in live), *sorted(set(agent_types) - present)]
    others = [box for box in boxes if box != sender]
    if not others:
        raise UnknownRecipient("There is nobody else to write to.", hint="agents(action='list') shows who is alive.")
    return others


def mailboxes(tx: Transaction, reader: str) -> list[str]:
    """The mailboxes that ``reader`` takes mail from: its own, its type's, its predecessors'."""
    row = tx.one("SELECT agent_type, task_id FROM agent_lifecycle WHERE agent_id = ?", (reader,))
    if row is None:
        return [reader]
    before = tx.all(
        "SELECT agent_id FROM agent_lifecycle WHERE task_id = ? AND agent_id <> ? "
        "AND status NOT IN ('starting', 'running')",
        (row["task_id"], reader),
    )
    return [reader, row["agent_type"], *(other["agent_id"] for other in before)]


def is_gone(tx: Transaction, name: str) -> bool:
    """Whether ``name`` was an agent whose mail nobody will read: it has ended, and no other takes its place."""
    agent = _agent(tx, name)
    return agent is not None and _has_no_successor(agent)


def _agent(tx: Transaction, name: str) -> Row | None:
    return tx.one(
        "SELECT a.agent_id, a.agent_type, a.status, a.task_id, t.status AS task_status FROM agent_lifecycle a "
        "LEFT JOIN specs_task t ON t.task_id = a.task_id WHERE a.agent_id = ?",
        (name,),
    )


def is_type(tx: Transaction, name: str) -> bool:
    """Whether there is, or was, an agent of this type."""
    return tx.one("SELECT 1 FROM agent_lifecycle WHERE agent_type = ? LIMIT 1", (name,)) is not None


def _has_no_successor(agent: Row) -> bool:
    is_live = agent["status"] in states.LIVE_AGENT
    return not is_live and (agent["task_id"] is None or agent["task_status"] == "completed")


def _live_ids(tx: Transaction) -> list[str]:
    rows = tx.all("SELECT agent_id FROM agent_lifecycle WHERE status IN ('starting', 'running') ORDER BY agent_id")
    return [row["agent_id"] for row in rows]
