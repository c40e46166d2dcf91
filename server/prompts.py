"""What an agent is told: its task word for word, what surrounds it, and what went wrong before."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from . import stages, tasks
from .stages import Unmerged
from .store import Row, Transaction
from .wording import cut

ITEMS_SHOWN = 30
LINES_SHOWN = 5
LINE_LENGTH = 200
DEEDS_SHOWN = 10
SUBJECTS_SHOWN = 5
NAMES_SHOWN = 15
SUMMARY_LENGTH = 1_000
_COMMIT = "Commit what you did; what is left uncommitted is committed for you."
_NO_COMMIT = "Do not commit: your sandbox keeps git from writing, and what you leave in the files is committed for you."
_NO_GIT = (
    "\n\nYou cannot call the git commands named here: edit such a file, or delete it. Where it has to stay as it is, "
    "`report` that you are blocked, and why."
)
_CALLS = """The tools of the MCP server `crewyard` connect you to the crew:

- `report(action="progress", summary="…")` after each larger step, so that others see how far you are.
- Ask where you would have to guess at something that matters: `report(action="question", summary="…")`, then wait for \
the answer with `route(action="poll", wait_seconds=50)`, several times if need be. If none comes, end: your task waits \
for it, and whoever goes on with it gets it.
- `unread` in a result means mail. Poll now and then, and once before you finish; \
`route(action="acknowledge", message_ids=[…])` settles what you have read.
- At the end `report(action="complete", summary="…")` with what you did, as those must know who build on it; with \
`no_change=True` where nothing was to be changed. `report(action="failed", summary="…")` where it cannot be done."""


@dataclass(frozen=True)
class Deed:
    """What was done for a task: ``commit`` is its merge, or None; ``summary`` its agent's word of it."""

    task_id: str
    title: str
    commit: str | None
    summary: str | None
    subjects: Sequence[str] = ()
    files: Sequence[str] = ()


@dataclass(frozen=True)
class Briefing:
    """What an agent is told beside its task.

    ``resumes``: it goes on with a conversation. ``can_call``: it has our tools; ``commits``: it may commit. ``before``
    is what happened before, ``mail`` what it gets of messages, ``earlier_mail`` what those before it got.
    """

    target: str
    resumes: bool = False
    can_call: bool = True
    commits: bool = True
    built_on: Sequence[Deed] = ()
    before: str | None = None
    conflicts: Sequence[Unmerged] = ()
    mail: Sequence[Row] = ()
    earlier_mail: Sequence[Row] = ()


def compose(tx: Transaction, task: Row, briefing: Briefing) -> str:
    """The whole prompt for the next attempt at ``task``, as Markdown."""
    parts = [f"# Task {task['task_id']}: {task['title']}"]
    if briefing.resumes:
        parts.append("This goes on from your earlier conversation about this task, with what has happened since.")
    parts.append(task["description"])
    spec = tx.one("SELECT * FROM specs_specification WHERE id = ?", (task["spec_id"],))
    if spec is not None and spec["content"]:
        parts += [f"## Specification: {spec['title'] or spec['id']}", spec["content"]]
    if files := tasks.files_of(task):
        parts += ["## Files", "\n".join(f"- {name}" for name in files)]
    if briefing.built_on:
        parts += ["## What it builds on", _done_before(briefing.built_on)]
    if briefing.before:
        parts += ["## What happened before", briefing.before]
    if briefing.earlier_mail:
        parts += ["## Mail that an earlier attempt got", *(_message(each) for each in briefing.earlier_mail)]
    if briefing.mail:
        parts += ["## Mail for you", *(_message(each) for each in briefing.mail)]
    if briefing.conflicts:
        about = _about(briefing.conflicts, briefing.target)
        parts += ["## Conflicts to resolve", about if briefing.commits else about + _NO_GIT]
    parts += ["## How to finish", _finish(tasks.check_of(task), briefing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _done_before(deeds: Sequence[Deed]) -> str:
    shown = [_in_full(deed) for deed in deeds[:DEEDS_SHOWN]]
    rest = [f"- {_headline(deed)}" for deed in deeds[DEEDS_SHOWN:ITEMS_SHOWN]]
    more = [f"- and {len(deeds) - ITEMS_SHOWN} more"] if len(deeds) > ITEMS_SHOWN else []
    return "\n".join([*shown, *rest, *more])


def _in_full(deed: Deed) -> str:
    lines = [f"- {_headline(deed)}"]
    if deed.summary:
        lines.append(f"  Its agent reported: {_indented(cut(deed.summary, SUMMARY_LENGTH))}")
    if deed.subjects:
        lines.append(f"  Commits: {_some([cut(each, LINE_LENGTH) for each in deed.subjects], SUBJECTS_SHOWN, '; ')}")
    if deed.files:
        lines.append(f"  Files: {_some([f'`{stages.quoted(each)}`' for each in deed.files], NAMES_SHOWN, ', ')}")
    return "\n".join(lines)


def _headline(deed: Deed) -> str:
    how = "done without a merge" if deed.commit is None else f"merged as {deed.commit[:12]}"
    return f"{deed.task_id}: {deed.title} ({how})"


def _some(items: Sequence[str], most: int, between: str) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return f"{between.join(items[:most])}{more}"


def _message(row: Row) -> str:
    again = f", delivered {row['delivery_count']} times" if row["delivery_count"] > 1 else ""
    head = f"From {row['from_agent']} at {row['created_at']} ({row['message_type']}, to {row['to_agent']}{again}):"
    said = _text_of(json.loads(row["content"]))
    return "\n".join([head, *(f"> {line}" for line in said.splitlines())])


def _text_of(content: object) -> str:
    if isinstance(content, dict) and content.keys() == {"text"}:
        content = content["text"]
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _indented(text: str) -> str:
    return "\n  ".join(text.strip().splitlines())


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


def _finish(check: Sequence[str], briefing: Briefing) -> str:
    words = "Work in this worktree, on the branch that is checked out. "
    words += _COMMIT if briefing.commits else _NO_COMMIT
    if briefing.can_call:
        words += f"\n\n{_CALLS}"
    else:
        words += " Exit with 0 when the task is done, with another code when it cannot be done."
    if check:
        words += f"\n\nThis must pass: `{as_typed(check)}`"
    return words


def as_typed(command: Sequence[str]) -> str:
    """A command as one types it into a shell."""
    return command[2] if list(command[:2]) == ["sh", "-c"] else shlex.join(command)
