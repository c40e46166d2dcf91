"""What waits for a person: failed tasks, questions of agents, merges to approve; and what goes on by itself later."""

from dataclasses import dataclass

from . import agents, failed_starts, holds, log_ins, merges, reports, tasks
from .store import Row, Transaction
from .wording import cut

LONGEST = 200
# Its first term is the condition of the index agent_message_inbox, as in ``messages``.
_UNREAD = (
    "FROM agent_message WHERE status IN ('pending', 'delivered') AND status = 'pending' "
    "AND message_type <> 'task_assignment' AND to_agent IN "
    "(SELECT agent_id FROM agent_lifecycle WHERE status IN ('starting', 'running') "
    "UNION SELECT agent_type FROM agent_lifecycle WHERE status IN ('starting', 'running'))"
)


@dataclass(frozen=True)
class Need:
    """``call`` is what to type at a terminal, or to look at first; ``agent_id`` who waits for it, if one does."""

    subject: str
    what: str
    call: str
    agent_id: str | None = None


@dataclass(frozen=True)
class Delay:
    """A task whose next attempt is to come, not before ``until``."""

    task_id: str
    attempt: int
    until: str
    because: str


def needs(tx: Transaction, *, auto_approve: bool, limit: int = 100) -> list[Need]:
    """What nobody but a person can move, at most ``limit`` of each sort."""
    return [
        *_questions(tx),
        *_types_that_fail(tx),
        *([] if auto_approve else _approvals(tx)[:limit]),
        *_in_the_way(tx)[:limit],
        *_failures(tx, limit),
        *_errors(tx, limit),
    ]


def delays(tx: Transaction, now: str, limit: int = 100) -> list[Delay]:
    """Tasks that wait for their restart, at most ``limit``, the next one first."""
    rows = tx.all(
        "SELECT task_id, retry_count, not_before, error_message FROM orchestrator_task "
        "WHERE status = 'assigned' AND not_before > ? ORDER BY not_before LIMIT ?",
        (now, limit),
    )
    return [
        Delay(row["task_id"], row["retry_count"] + 1, row["not_before"], _cut(row["error_message"])) for row in rows
    ]


def left_ready(tx: Transaction) -> int:
    """How many tasks are ready and in no dispatch, so that nobody works them off."""
    return int(
        tx.value(
            f"SELECT count(*) FROM specs_task t WHERE status = 'ready' AND {tasks.UNQUEUED} AND NOT EXISTS "
            "(SELECT 1 FROM dispatch_task d JOIN dispatch p USING (dispatch_id) "
            "WHERE d.task_id = t.task_id AND p.status IN ('active', 'paused'))"
        )
    )


def unread(tx: Transaction) -> int:
    """How many messages wait for agents that live; other mail waits for nobody who could be late.

    A task's assignment is no news to its agent: its prompt says the same.
    """
    return int(tx.value(f"SELECT count(*) {_UNREAD}"))


def unread_messages(tx: Transaction, limit: int) -> list[Row]:
    """The youngest of them."""
    return tx.all(f"SELECT from_agent, to_agent, message_type, created_at {_UNREAD} ORDER BY id DESC LIMIT ?", (limit,))


def _failures(tx: Transaction, limit: int) -> list[Need]:
    rows = tx.all(
        "SELECT task_id, needs_review, error_message FROM specs_task WHERE status = 'failed' "
        "ORDER BY needs_review DESC, task_id LIMIT ?",
        (limit,),
    )
    return [
        Need(
            row["task_id"],
            f"{'is in review' if row['needs_review'] else 'failed'}: {_cut(row['error_message'])}",
            f"crewyard why {row['task_id']}",
        )
        for row in rows
    ]


def _questions(tx: Transaction) -> list[Need]:
    found = []
    for row in agents.live(tx):
        if not reports.waits(tx, row["agent_id"]):
            continue
        said, name = reports.last(tx, row["agent_id"]), row["task_id"] or row["agent_id"]
        what, call = "waits for your answer", f"crewyard send {name} TEXT"
        if reports.is_answered(tx, row["agent_id"]):
            what, call = "has not read your answer yet", f"crewyard logs {name}"
        elif said is not None and said.kind == "blocked":
            what = "is blocked, and waits for your word"
        found.append(Need(name, f"{what}: {_cut(said.summary if said else '')}", call, row["agent_id"]))
    return found


def _types_that_fail(tx: Transaction) -> list[Need]:
    """Types of agents that cannot start: tried again by themselves, but a person is to mend what is wrong."""
    return [
        Need(row["scope"], _cut(_trouble(row)), "crewyard doctor")
        for row in holds.listed(tx)
        if row["reason"] in (failed_starts.REASON, log_ins.REASON)
    ]


def _trouble(hold: Row) -> str:
    """What helps stands first: a narrow screen cuts the end."""
    if hold["reason"] == log_ins.REASON:
        return f"is not logged in: {log_ins.cure_of(hold['message'])}"
    return f"cannot be started: {hold['message']}"


def _errors(tx: Transaction, limit: int) -> list[Need]:
    """Grave ones that nothing follows by itself, but for those that a failed task tells of."""
    rows = tx.all(
        "SELECT e.error_id, e.subject, e.task_id, e.message FROM error_events e LEFT JOIN specs_task t USING (task_id) "
        "WHERE e.status IN ('open', 'escalated') AND e.severity IN ('critical', 'high') "
        "AND (t.status IS NULL OR t.status NOT IN ('failed', 'completed', 'cancelled')) ORDER BY e.rowid DESC LIMIT ?",
        (limit,),
    )
    return [
        Need(row["task_id"] or row["error_id"], _cut(row["message"]), f"crewyard why {row['error_id']}") for row in rows
    ]


def _in_the_way(tx: Transaction) -> list[Need]:
    """Merges that only a person's hand in the checkout lets through."""
    return [
        Need(row["task_id"], f"its merge waits: {_cut(row['error_message'])}", f"crewyard why {row['task_id']}")
        for row in merges.queue(tx)
        if row["error_code"] == "dirty_working_directory"
    ]


def _approvals(tx: Transaction) -> list[Need]:
    return [
        Need(row["task_id"], "waits for the approval of its merge", f"crewyard worktrees approve {row['task_id']}")
        for row in merges.queue(tx)
        if row["approved_by"] is None
    ]


def _cut(text: str | None) -> str:
    """The first line."""
    return cut(next(iter((text or "").strip().splitlines()), "no reason is recorded"), LONGEST)
