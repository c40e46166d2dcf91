"""What an agent is told: its task word for word, what surrounds it, and what went wrong before."""

import shlex
from collections.abc import Sequence

from . import tasks
from .store import Row, Transaction


def compose(tx: Transaction, task: Row, *, next_prompt: str | None, conflicts: Sequence[str] = ()) -> str:
    """The whole prompt for the next attempt at ``task``, as Markdown."""
    parts = [f"# Task {task['task_id']}: {task['title']}", task["description"]]
    spec = tx.one("SELECT * FROM specs_specification WHERE id = ?", (task["spec_id"],))
    if spec is not None and spec["content"]:
        parts += [f"## Specification: {spec['title'] or spec['id']}", spec["content"]]
    if files := tasks.files_of(task):
        parts += ["## Files", "\n".join(f"- {name}" for name in files)]
    if done := _done_before(tx, task["task_id"]):
        parts += ["## What it builds on", "\n".join(f"- {row['task_id']}: {row['title']} (merged)" for row in done)]
    if next_prompt:
        parts += ["## What happened before", next_prompt]
    if conflicts:
        parts += ["## Conflicts to resolve", _about(conflicts)]
    parts += ["## How to finish", _finish(tasks.check_of(task))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _done_before(tx: Transaction, task_id: str) -> list[Row]:
    return tx.all(
        "SELECT b.* FROM specs_task_dependency d JOIN specs_task b ON b.task_id = d.blocking_task_id "
        "WHERE d.dependent_task_id = ? AND b.status = 'completed' ORDER BY b.task_id",
        (task_id,),
    )


def _about(conflicts: Sequence[str]) -> str:
    names = "\n".join(f"- {name}" for name in conflicts)
    return (
        "The integration branch changed the same lines meanwhile. It is being merged into your branch in this "
        f"worktree; these files hold conflict markers:\n\n{names}\n\nEdit them so that both sides' intentions hold, "
        "and leave no marker."
    )


def _finish(check: Sequence[str]) -> str:
    words = "Work in this worktree, on the branch that is checked out. Commit what you did; what is left uncommitted "
    words += "is committed for you. Exit with 0 when the task is done, with another code when it cannot be done."
    if check:
        words += f"\n\nThis must pass: `{check[2] if list(check[:2]) == ['sh', '-c'] else shlex.join(check)}`"
    return words
