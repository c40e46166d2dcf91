"""What an agent is told: its task word for word, what surrounds it, and what went wrong before."""

import shlex
from collections.abc import Sequence

from . import stages, tasks
from .stages import Unmerged
from .store import Row, Transaction

ITEMS_SHOWN = 30
LINES_SHOWN = 5
LINE_LENGTH = 200
_MAIL = (
    "Where you have the tools of the MCP server `crewyard`: `report` how you stand, or ask. `unread` in a result means "
    'mail: `route(action="poll")` reads it, `route(action="acknowledge", message_ids=[…])` settles it.'
)
_COMMIT = "Commit what you did; what is left uncommitted is committed for you."
_NO_COMMIT = "Do not commit: your sandbox keeps git from writing, and what you leave in the files is committed for you."
_NO_GIT = (
    "\n\nYou cannot call the git commands named here: edit such a file, or delete it. Where it has to stay as it is, "
    "`report` that you are blocked, and why."
)


def compose(
    tx: Transaction,
    task: Row,
    target: str,
    *,
    next_prompt: str | None,
    conflicts: Sequence[Unmerged] = (),
    commits: bool = True,
) -> str:
    """The whole prompt for the next attempt at ``task``, as Markdown. ``commits``: its agent can call git to write."""
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
        parts += ["## Conflicts to resolve", _about(conflicts, target) + ("" if commits else _NO_GIT)]
    parts += ["## How to finish", _finish(tasks.check_of(task), commits)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _done_before(tx: Transaction, task_id: str) -> list[Row]:
    return tx.all(
        "SELECT b.* FROM specs_task_dependency d JOIN specs_task b ON b.task_id = d.blocking_task_id "
        "WHERE d.dependent_task_id = ? AND b.status = 'completed' ORDER BY b.task_id",
        (task_id,),
    )


def of_conflict(
    target: str, what: Sequence[str], behind: Sequence[Row], subjects: Sequence[str], own: Sequence[str]
) -> str:
    """Why a task comes back: what conflicts, and what either side wanted there.

    ``behind`` are the tasks whose merges changed those files, ``subjects`` the commits on ``target`` that did, and
    ``own`` those of the task's branch.
    """
    parts = [f"Merging your branch into {target} conflicts:", _listed(what)]
    if behind:
        parts += [f"On {target} these tasks changed the same files:", _listed([_in_short(task) for task in behind])]
    if subjects:
        parts += [f"Their commits on {target}:", _listed(subjects)]
    if own:
        parts += ["Yours:", _listed(own)]
    return "\n\n".join(parts)


def _in_short(task: Row) -> str:
    lines = [line.strip() for line in task["description"].splitlines() if line.strip()][:LINES_SHOWN]
    return "\n  ".join([f"{task['task_id']}: {task['title']}", *(line[:LINE_LENGTH] for line in lines)])


def _listed(items: Sequence[str]) -> str:
    more = [f"and {len(items) - ITEMS_SHOWN} more"] if len(items) > ITEMS_SHOWN else []
    return "\n".join(f"- {item}" for item in [*items[:ITEMS_SHOWN], *more])


def _about(conflicts: Sequence[Unmerged], target: str) -> str:
    items = [f"`{stages.quoted(each.path)}`: {_what_to_do(each, target)}" for each in conflicts]
    return (
        f"{target} is being merged into your branch in this worktree; the merge waits for you. Make both sides' "
        f"intentions hold in each of these files:\n\n{chr(10).join(f'- {item}' for item in items)}"
    )


def _what_to_do(conflict: Unmerged, target: str) -> str:
    kind = stages.kind(conflict.sides, "your branch", target)
    if conflict.remembered:
        return f"{kind}. A remembered resolution of the same conflict was put in: check that it is right here too."
    if conflict.marked:
        return f"{kind}. It holds conflict markers: edit it, and leave none."
    name = shlex.quote(conflict.path)
    if stages.is_gone(conflict.sides):
        return f"{kind}. Look at the names that it has now; nothing is to be done with this one."
    if stages.is_submodule(conflict.sides):
        choice = f"Choose its commit: `git update-index --cacheinfo 160000,COMMIT,{name}`."
    elif stages.is_on_one_side(conflict.sides):
        choice = f"It holds no markers. Edit it, delete it (`git rm -- {name}`), or keep it as it is"
        choice += f" (`git add -- {name}`)."
    else:
        choice = f"It holds no markers, and your branch's content. `git checkout --theirs -- {name}` takes {target}'s;"
        choice += f" then, or to keep yours, `git add -- {name}`."
    return f"{kind}. {choice} Left as it is, it counts as not resolved."


def _finish(check: Sequence[str], commits: bool) -> str:
    words = f"Work in this worktree, on the branch that is checked out. {_COMMIT if commits else _NO_COMMIT} "
    words += "Exit with 0 when the task is done, with another code when it cannot be done."
    words += f"\n\n{_MAIL}"
    if check:
        words += f"\n\nThis must pass: `{as_typed(check)}`"
    return words


def as_typed(command: Sequence[str]) -> str:
    """A command as one types it into a shell."""
    return command[2] if list(command[:2]) == ["sh", "-c"] else shlex.join(command)
