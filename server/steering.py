"""Work that would steer the agents to come: changes to what their programs execute, or take settings from.

What a program is allowed is its own to keep to, and each has had holes. So this is looked at on the evidence: when the
work is handed in, and when an agent is started where others have worked before it.
"""

from collections.abc import Sequence
from pathlib import Path

from . import agents, kinds, merges, stages
from .crew import Crew
from .errors import SteersAgents

NAMED = 10


def require_none(crew: Crew, task_id: str, head: str) -> None:
    """Raises SteersAgents where the branch as handed in does so; what somebody has approved of it does not count."""
    if types := _kept_from_it(crew, task_id):
        known = _known(crew, task_id, head)
        _refuse(set.intersection(*(crew.repository.changed_files(commit, head) for commit in known)), types)


def require_none_at(crew: Crew, task_id: str, path: Path) -> None:
    """The same of a worktree as it stands, with what is not committed and what a merge has begun to bring there."""
    if types := _kept_from_it(crew, task_id):
        known = _known(crew, task_id, crew.repository.head(path))
        if target := crew.repository.tip(crew.target):
            known.append(target)
        _refuse(set.intersection(*(crew.repository.changed_files_since(commit, path) for commit in known)), types)


def _kept_from_it(crew: Crew, task_id: str) -> list[str]:
    """The types that have worked on the task and may not run what they like."""
    known = {**crew.settings.built_in, **crew.settings.agents}
    return sorted(
        {
            row["agent_type"]
            for row in crew.store.read(agents.of_task, task_id)
            if kinds.is_kept_from_steering(row["agent_type"], row["kind"], known.get(row["agent_type"]))
        }
    )


def _known(crew: Crew, task_id: str, head: str) -> list[str]:
    """Commits whose files are as they should be: where the branch left the target last, and what was approved."""
    target = crew.repository.tip(crew.target)
    approved = crew.store.read(merges.last_approved, task_id)
    return [crew.repository.git("merge-base", target or head, head), *([approved] if approved else [])]


def _refuse(changed: set[str], types: Sequence[str]) -> None:
    found = sorted(filter(kinds.steers, changed))
    if not found:
        return
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    permitted = " and ".join(f'agents.{each}.permissions = "run"' for each in types)
    raise SteersAgents(
        f"It changed {', '.join(map(stages.quoted, found[:NAMED]))}{more}, which tells agent programs what to execute.",
        hint=f"Take that back in its worktree, or set {permitted}.",
        files=found,
    )
