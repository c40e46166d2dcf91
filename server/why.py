"""Why something does not run, merge or arrive: one true sentence, and the call that helps (contract 3, ``why``).

Each state has one function; each reads the same rows that the dispatcher and the merger decide by, so that the answer
is what will happen and not a guess.
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

from . import collisions, lease, why_launches
from .errors import InvalidInput, NotFound
from .next_calls import call
from .store import Row, Transaction
from .why_errors import of_error
from .why_launches import Bounds
from .why_merges import of_merge, of_pooled, of_worktree
from .why_subjects import Answer, of_agent, of_dispatch, of_message
from .why_tasks import of_task, scope_of
from .why_workflows import of_project, of_worker

__all__ = ["Bounds", "Explanation", "explain"]

SHORTEST_PREFIX = 4
LOOKED_AT = 2_000
NAMED = 5
# What goes on only while somebody supervises.
DRIVEN = {
    "task": ("ready", "assigned", "in_progress"),
    "agent": ("starting", "running"),
    "merge": ("queued", "checking"),
    "dispatch": ("active",),
    "worktree": ("creating", "merged"),
    "project": ("active",),
}


@dataclass(frozen=True)
class Explanation:
    """``subject_type`` says what the id was taken for, ``subject`` is its id in full."""

    subject_type: str
    because: str
    next_call: str
    subject: str = ""


@dataclass(frozen=True)
class Kind:
    """What can be asked about. ``key`` names it."""

    subject_type: str
    table: str
    key: str
    explained: Callable[[Transaction, Row, str, Bounds], Answer]


def explain(tx: Transaction, subject: str, *, now: str, bounds: Bounds) -> Explanation:
    """Explain a task, agent, message, merge, dispatch, error, worktree, project or worker by its id, or by its
    beginning; or a type of agents that cannot be started.

    Raises InvalidInput where several begin so, NotFound, with the ids that look alike.
    """
    found = _found(tx, subject)
    if found is None and (trouble := why_launches.of_type(tx, subject, now)) is not None:
        because = f"{trouble.because[:1].upper()}{trouble.because[1:]}."
        return Explanation("agent_type", because, trouble.next_call, subject)
    kind, row = found or _begun(tx, subject)
    because, next_call = kind.explained(tx, row, now, bounds)
    if kind.subject_type == "task":
        because += collisions.sentence(tx, row["task_id"])
    if row["status"] in DRIVEN.get(kind.subject_type, ()) and not _is_nobodys(tx, kind, row):
        because += _unsupervised(tx, bounds)
    return Explanation(kind.subject_type, because, next_call, str(row[kind.key]))


def _found(tx: Transaction, subject: str) -> tuple[Kind, Row] | None:
    for kind in SUBJECTS:
        # SQLite compares the text of a number with an integer key as the number that it is.
        value = subject.removeprefix("merge-") if kind.subject_type == "merge" else subject
        row = tx.one(f"SELECT * FROM {kind.table} WHERE {kind.key} = ? ORDER BY rowid DESC LIMIT 1", (value,))
        if row is not None:
            return kind, row
    return None


def _begun(tx: Transaction, beginning: str) -> tuple[Kind, Row]:
    """What alone begins so. Raises NotFound, InvalidInput where several do."""
    if len(beginning) >= SHORTEST_PREFIX:
        names = {
            row[0]
            for kind in SUBJECTS
            if kind.subject_type != "merge"
            for row in tx.all(
                f"SELECT {kind.key} FROM {kind.table} WHERE {kind.key} >= ? AND {kind.key} < ? LIMIT ?",
                (beginning, f"{beginning}\U0010ffff", NAMED + 1),
            )
        }
        found = _found(tx, names.pop()) if len(names) == 1 else None
        if found is not None:
            return found
        if names:
            some = ", ".join(sorted(names)[:NAMED]) + (", …" if len(names) > NAMED else "")
            raise InvalidInput(f"Several begin with {beginning!r}: {some}.", hint="Give more of it.", subject=beginning)
    raise _unknown(tx, beginning)


def _unknown(tx: Transaction, subject: str) -> NotFound:
    known = [
        str(row[0])
        for kind in SUBJECTS
        for row in tx.all(f"SELECT {kind.key} FROM {kind.table} ORDER BY rowid DESC LIMIT ?", (LOOKED_AT,))
        if kind.subject_type != "merge"
    ]
    near = difflib.get_close_matches(subject, dict.fromkeys(known), n=3, cutoff=0.6)
    lists = f"{call('plan', action='show')} and {call('agents', action='list', state='all')} list them."
    hint = f"Did you mean {', '.join(near)}?" if near else f"Give the id of a task, agent, message or merge; {lists}"
    return NotFound(f"Nothing is called {subject!r}.", hint=hint, subject=subject)


def _is_nobodys(tx: Transaction, kind: Kind, row: Row) -> bool:
    """Whether a supervisor would do nothing for it either: a ready task that nobody has asked for."""
    return kind.subject_type == "task" and row["status"] == "ready" and scope_of(tx, row["task_id"]) is None


def _unsupervised(tx: Transaction, bounds: Bounds) -> str:
    """What is added where nobody supervises; where nobody ever has, nothing has been asked for either."""
    row = lease.current(tx)
    if row is None or bounds.uptime is None or lease.is_held(row, uptime=bounds.uptime):
        return ""
    is_dead = bounds.uptime == math.inf
    last = (
        f"process {row['pid']}, which did, is gone" if is_dead else f"process {row['pid']} did so until {row['until']}"
    )
    return f" Nobody supervises now ({last}), so nothing goes on; `crewyard start` or `crewyard run PLAN` does."


def _of_assignment(tx: Transaction, row: Row, now: str, bounds: Bounds) -> Answer:
    return of_task(tx, tx.only("SELECT * FROM specs_task WHERE task_id = ?", (row["task_id"],)), now, bounds)


SUBJECTS = (
    Kind("task", "specs_task", "task_id", of_task),
    Kind("agent", "agent_lifecycle", "agent_id", of_agent),
    Kind("message", "agent_message", "message_id", of_message),
    Kind("dispatch", "dispatch", "dispatch_id", of_dispatch),
    Kind("merge", "merge_request", "merge_id", of_merge),
    Kind("worktree", "git_worktree_tracker", "branch_name", of_worktree),
    Kind("pooled_worktree", "worktree_pool", "path", of_pooled),
    Kind("worktree", "git_worktree_tracker", "worktree_path", of_worktree),
    Kind("assignment", "orchestrator_task", "orchestrator_task_id", _of_assignment),
    Kind("error", "error_events", "error_id", of_error),
    Kind("project", "project", "project_id", of_project),
    Kind("worker", "worker", "worker_id", of_worker),
)
