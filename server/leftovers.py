"""What worktrees there are to clean up, and for each the reason why it may be removed or stays (R-190 to R-199).

Beside those on record there are *orphans*: worktrees that git lists under the worktrees' folder, on branches that are
named as ours are, and that this database knows nothing of, because it is another one than they were made under.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import agents, hidden, merges, pool, pooling, saving, tasks, workspaces, worktrees
from .checkouts import Checkout
from .next_calls import call
from .paths import Paths
from .repository import Repository
from .settings import Settings
from .store import Reader, Row, Store, Transaction
from .worktrees import Candidate, Worktree

FILES_NAMED = 3
ORPHAN = "orphan"
POOLED = re.compile(r"pool-\d+")


@dataclass(frozen=True)
class Seen:
    """The database at one moment: worktrees, and what keeps a task's worktree in use."""

    worktrees: list[Worktree]
    agents: dict[str, str]
    merges: dict[str, Row]
    in_hand: dict[str, str]
    pooled: set[str]


def look(repository: Repository, settings: Settings, store: Store | Reader | None) -> list[Candidate]:
    """Every worktree of a task, those on record first, then the orphans."""
    seen = store.read(_seen) if store is not None else Seen([], {}, {}, {}, set())
    paths, checkouts = Paths(repository.root, settings), repository.checkouts()
    found = [_candidate(repository, settings, each, seen, checkouts) for each in seen.worktrees]
    found += [_orphan(repository, settings, each) for each in orphans(paths, checkouts, seen.worktrees)]
    return found + [_orphan(repository, settings, each) for each in orphans_of_pool(paths, checkouts, seen.pooled)]


def seen_from_outside(repository: Repository, settings: Settings) -> list[Candidate]:
    """As ``look``, also where there is no database."""
    database = Paths(repository.root, settings).database
    if not database.exists():
        return look(repository, settings, None)
    store = Store(database)
    try:
        return look(repository, settings, store)
    finally:
        store.close()


def orphans(paths: Paths, checkouts: Iterable[Checkout], known: Iterable[Worktree]) -> list[Worktree]:
    """As records that no database holds; their task's id is what their branch names."""
    before, after = (re.escape(part) for part in paths.settings.crew.branch_name.split("{task_id}"))
    folder, names = paths.worktree("x").parent, re.compile(f"{before}(.+){after}")
    places, branches = {each.path for each in known}, {each.branch for each in known}
    return [
        Worktree(0, named[1], str(each.path), each.branch, paths.settings.crew.integration_branch, "", ORPHAN, None)
        for each in checkouts
        if each.branch is not None
        and (named := names.fullmatch(each.branch))
        and each.path.parent == folder
        and str(each.path) not in places
        and each.branch not in branches
    ]


def orphans_of_pool(paths: Paths, checkouts: Iterable[Checkout], known: set[str]) -> list[Worktree]:
    """Worktrees that were kept for a next task, by our lock, and that no database knows; their folder names them."""
    target = paths.settings.crew.integration_branch
    return [
        Worktree(0, each.path.name, str(each.path), "", target, "", ORPHAN, None)
        for each in checkouts
        if each.locked == pooling.LOCK
        and each.path.parent == paths.worktrees
        and POOLED.fullmatch(each.path.name)
        and str(each.path) not in known
    ]


def _candidate(
    repository: Repository, settings: Settings, worktree: Worktree, seen: Seen, checkouts: list[Checkout]
) -> Candidate:
    path, task_id = Path(worktree.path), worktree.task_id
    in_use = _in_use(worktree, seen, auto_approve=settings.merge.auto_approve)
    elsewhere = next(
        (c.path for c in checkouts if c.branch == worktree.branch and c.path != path and not c.prunable), None
    )
    if elsewhere is not None and elsewhere.exists() and not path.exists():  # somebody moved it; cleanup finds it there
        path, elsewhere = elsewhere, None
    locked = next((c.locked for c in checkouts if c.path == path), None)
    is_there, removable, forcible = path.exists(), False, False
    if in_use is not None:
        reason = in_use
    elif elsewhere is not None:
        reason = f"its branch is checked out in {elsewhere}; it is yours to let go"
    elif locked is not None:
        reason = f"somebody locked it{f' ({locked})' if locked else ''}; `git worktree unlock` lets it go"
    elif nested := repository.checkouts_inside(path):
        reason = f"the worktree {nested[0]} lies inside; move or remove that one first"
    elif (inner := saving.unsalvageable(repository, path) if is_there else []) != []:
        reason = f"holds {_named(inner)}, a git repository of its own with work in it; move it elsewhere"
    elif (work := _work(repository, settings, worktree, path)) != "":
        reason, forcible = f"{work}; {_by_force(task_id)} keeps it under a salvage ref", True
    else:
        removable = True
        gone = "" if is_there else "its folder is gone already; "
        reason = f"{gone}all its commits are on {settings.crew.integration_branch}"
    size = workspaces.size_in_mb(path) if is_there else 0.0
    kept = f" (cleanup left it: {worktree.kept_because})" if worktree.kept_because and not removable else ""
    return Candidate(
        task_id, worktree.path, worktree.branch, worktree.status, removable, reason + kept, size, forcible=forcible
    )


def _by_force(task_id: str) -> str:
    return call("worktrees", action="cleanup", task_id=task_id, force=True)


def _orphan(repository: Repository, settings: Settings, worktree: Worktree) -> Candidate:
    path = Path(worktree.path)
    work = _work(repository, settings, worktree, path)
    holds = work or f"all its commits are on {settings.crew.integration_branch}"
    reason = (
        f"this database does not know it, so it is from another life; {holds}. "
        f"{_by_force(worktree.task_id)} keeps what it holds and removes it"
    )
    size = workspaces.size_in_mb(path) if path.exists() else 0.0
    return Candidate(
        worktree.task_id, worktree.path, worktree.branch, ORPHAN, ready=False, reason=reason, disk_space_mb=size
    )


def _in_use(worktree: Worktree, seen: Seen, *, auto_approve: bool) -> str | None:
    task_id = worktree.task_id
    if worktree.status == "creating":
        return "it is being made"
    if (agent := seen.agents.get(task_id)) is not None:
        return f"{agent} works in it"
    if (merge := seen.merges.get(task_id)) is not None:
        doing = (
            "is being merged" if merge["status"] == "checking" else f"waits at place {merge['position']} for its merge"
        )
        if merge["status"] == "queued" and merge["approved_by"] is None and not auto_approve:
            doing = f"waits for an approval: `crewyard worktrees approve {task_id}`"
        return f"its work {doing}"
    if (status := seen.in_hand.get(task_id)) is not None:
        return f"its task is {status}, and goes on in it"
    return None


def _work(repository: Repository, settings: Settings, worktree: Worktree, path: Path) -> str:
    """What would be lost with it: commits that are on no other branch of note, changes, new files."""
    target, parts = settings.crew.integration_branch, []
    tips = {
        repository.tip(worktree.branch) if worktree.branch else None,
        repository.commit_at(path) if path.exists() else None,
    } - {None}
    without = [commit for commit in (repository.tip(target), worktree.base_commit) if commit]
    ahead = repository.count_commits([tip for tip in tips if tip], without)
    if ahead:
        parts.append(
            f"{ahead} {'commit' if ahead == 1 else 'commits'} of {worktree.branch or 'its own'} not on {target}"
        )
    changed, new = repository.uncommitted(path) if path.exists() else ([], [])
    if changed:
        parts.append(f"uncommitted changes to {_named(changed)}")
    if new:
        parts.append(f"new files {_named(new)}")
    if path.exists() and not (changed or new) and hidden.is_dirty(repository, path):
        parts.append("changes that git was told not to look at")
    return f"holds {' and '.join(parts)}" if parts else ""


def _named(files: list[str]) -> str:
    more = f" and {len(files) - FILES_NAMED} more" if len(files) > FILES_NAMED else ""
    return ", ".join(files[:FILES_NAMED]) + more


def _seen(tx: Transaction) -> Seen:
    return Seen(
        worktrees.listed(tx),
        {row["task_id"]: row["agent_id"] for row in agents.live(tx) if row["task_id"]},
        {row["task_id"]: row for row in merges.queue(tx)},
        {row["task_id"]: row["status"] for row in tasks.in_hand(tx)},
        {entry.path for entry in pool.entries(tx)},
    )
