"""Every state machine as keyed data; this module imports nothing of ours.

A machine names its table, its key column and, for each state, the states it may become. ``events.change`` is the
one place that changes a state; it takes the legal sources from here. The CHECKs in ``schema.sql`` list the same states
(a test compares them), and a test walks every pair (have, want) against a real database.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A table whose ``status`` column follows ``moves``. ``subject`` names it in events and messages."""

    subject: str
    table: str
    key: str
    moves: dict[str, frozenset[str]]

    @property
    def states(self) -> frozenset[str]:
        return frozenset(self.moves)

    def sources(self, want: str) -> tuple[str, ...]:
        """The states from which ``want`` may be entered, sorted."""
        return tuple(sorted(have for have, wants in self.moves.items() if want in wants))


def _moves(**table: str) -> dict[str, frozenset[str]]:
    return {have: frozenset(wants.split()) for have, wants in table.items()}


TASK = Machine(
    "task",
    "specs_task",
    "task_id",
    _moves(
        pending="ready assigned completed cancelled",
        ready="pending assigned completed cancelled",
        assigned="ready in_progress completed failed cancelled",
        in_progress="ready assigned completed failed cancelled",
        completed="",
        failed="pending ready completed cancelled",
        cancelled="pending ready",
    ),
)

# `assigned` is a task that waits for an agent: at first, after a failure (until `not_before`), or for rework.
ASSIGNMENT = Machine(
    "assignment",
    "orchestrator_task",
    "orchestrator_task_id",
    _moves(
        assigned="running completed failed cancelled",
        running="assigned completed failed cancelled",
        completed="assigned merged failed cancelled",
        merged="",
        failed="",
        cancelled="",
    ),
)

AGENT = Machine(
    "agent",
    "agent_lifecycle",
    "agent_id",
    _moves(
        starting="running failed killed lost",
        running="completed failed killed timeout lost",
        completed="",
        failed="",
        killed="",
        timeout="",
        lost="",
    ),
)

WORKTREE = Machine(
    "worktree",
    "git_worktree_tracker",
    "worktree_id",
    _moves(creating="active cleaned", active="merged cleaned", merged="cleaned", cleaned=""),
)

MERGE = Machine(
    "merge",
    "merge_request",
    "merge_id",
    _moves(
        queued="checking rejected cancelled",
        checking="queued merged conflicted rejected cancelled",
        merged="",
        conflicted="",
        rejected="",
        cancelled="",
    ),
)

POOL = Machine(
    "pooled_worktree",
    "worktree_pool",
    "pool_id",
    _moves(filling="ready", ready="filling taken", taken=""),
)

MESSAGE = Machine(
    "message",
    "agent_message",
    "message_id",
    _moves(
        pending="delivered failed expired",
        delivered="pending acknowledged failed expired",
        acknowledged="",
        failed="",
        expired="",
    ),
)

DISPATCH = Machine(
    "dispatch",
    "dispatch",
    "dispatch_id",
    _moves(
        active="paused completed cancelled",
        paused="active completed cancelled",
        completed="",
        cancelled="",
    ),
)

ERROR = Machine(
    "error",
    "error_events",
    "error_id",
    _moves(
        open="recovering escalated resolved",
        recovering="open escalated resolved",
        escalated="recovering resolved",
        resolved="",
    ),
)

PROJECT = Machine(
    "project",
    "project",
    "project_id",
    _moves(
        active="held review completed rejected",
        held="active rejected",
        review="active held rejected",
        completed="active",
        rejected="",
    ),
)

ITEM = Machine(
    "item",
    "queue_item",
    "item_id",
    _moves(
        waiting="working held review rejected",
        working="waiting held review done rejected",
        held="waiting rejected",
        review="waiting held rejected",
        done="",
        rejected="",
    ),
)

# `offline`: given no work; its agent was silent for too long, or its restart failed.
WORKER = Machine(
    "worker",
    "worker",
    "worker_id",
    _moves(idle="busy offline retired", busy="idle offline", offline="idle retired", retired="idle"),
)

MACHINES = (TASK, ASSIGNMENT, AGENT, WORKTREE, POOL, MERGE, MESSAGE, DISPATCH, ERROR, PROJECT, ITEM, WORKER)

LIVE_AGENT = ("starting", "running")
