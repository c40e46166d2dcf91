"""Looks before anything is changed: is this repository, and are these agents, fit to be worked with?"""

from collections.abc import Collection
from pathlib import Path

from . import following, kinds, large_files, process, saving
from .errors import ConfigurationError, DirtyWorkingDirectory, GitError
from .git_calls import MARK
from .kinds import Kind, command
from .paths import Paths
from .repository import Repository
from .settings import FILE_NAME, Settings


def require_fit(repository: Repository, settings: Settings, ours: Collection[Path] = ()) -> list[str]:
    """Raises GitError or DirtyWorkingDirectory, with the cure, where work cannot be branched off or merged.

    Returns what a person should know although it does not speak against it.

    Uncommitted changes matter only where agents would start without them: on the integration branch, or on the commit
    that it is to be made from. ``ours`` are files that Crewyard itself reads (the plan); they do not count.
    """
    target = settings.crew.integration_branch
    busy = repository.operation_in_progress(repository.root)
    if busy is not None:
        raise GitError(
            f"{repository.root} is in the middle of a {busy}.",
            hint=f"Finish it, or `git {busy} --abort`, then start again.",
        )
    tip = repository.tip(target)
    notes = large_files.require_filter(repository, tip or repository.head(repository.root))
    branch = repository.branch_at(repository.root)
    if branch != target and tip is not None:
        return [*notes, *_left_behind(repository, branch, target)]
    own = {path.resolve() for path in ours} | {repository.root / FILE_NAME}
    own |= {repository.root / name for name in following.unfinished(repository, repository.root)}
    changed = [name for name in repository.changed_tracked_files(repository.root) if repository.root / name not in own]
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise DirtyWorkingDirectory(
            f"{repository.root} holds uncommitted changes ({shown}), which the agents would start without.",
            hint="Commit or stash them, then start again.",
            files=changed,
        )
    return notes


def _left_behind(repository: Repository, branch: str | None, target: str) -> list[str]:
    """What is on the branch that a person works on and not on the one that agents start from."""
    ahead = 0 if branch is None else int(repository.git("rev-list", "--count", f"refs/heads/{target}..HEAD"))
    if not ahead:
        return []
    commits = "1 commit that" if ahead == 1 else f"{ahead} commits that"
    return [
        f"{branch} has {commits} {target} has not, and agents start from {target}: "
        f"`git switch {target} && git merge {branch}` gives them to the agents"
    ]


def require_agents(settings: Settings, agent_types: Collection[str], root: Path) -> None:
    """Raises ConfigurationError where one of these types of agent, the merge check or the setup cannot be started."""
    for key, words in (("merge.check", settings.merge.check), ("worktree.setup", settings.worktree.setup)):
        if words and not command.is_there(words[0], root):
            raise ConfigurationError(
                f"{key}: there is no program {words[0]!r}.", hint=f"Install it, or change {FILE_NAME}."
            )
    for name in sorted(agent_types):
        _require_any(settings, name)
        agent = settings.agent(name)
        kind: Kind = kinds.of(name, agent.kind)
        kind.preflight(name, agent, root)


def _require_any(settings: Settings, name: str) -> None:
    """Raises ConfigurationError where a task names no agent and none is configured.

    A program that happens to be on PATH is not started unasked: it costs money, and changes files.
    """
    if settings.agents or name != settings.default_agent:
        return
    found = [each for each, program in kinds.programs().items() if program.is_on_path]
    using = f"; {' or '.join(f'`crewyard run PLAN --agent {each}`' for each in found)} needs none" if found else ""
    raise ConfigurationError(
        f"No agent is configured in {FILE_NAME}, and there are tasks that name none.",
        hint=f"`crewyard init` writes that file with the agent programs that are on PATH{using}.",
    )


def resolve_agent(settings: Settings, wanted: str) -> str:
    """The agent type that ``--agent`` means: a configured name, the one that is of that kind, or a built-in one.

    Raises ConfigurationError.
    """
    if wanted in settings.agents:
        return wanted
    of_kind = [name for name, agent in settings.agents.items() if agent.kind == wanted]
    if len(of_kind) == 1:
        return of_kind[0]
    if of_kind:
        raise ConfigurationError(
            f"--agent {wanted}: {', '.join(of_kind)} are all of that kind.", hint="Name one of them."
        )
    settings.agent(wanted)  # raises, with the names there are
    return wanted


def prepare(repository: Repository, paths: Paths) -> bool:
    """Make the integration branch where it is missing, and keep our files out of git; returns whether it was made."""
    repository.exclude(paths.excludes())
    target = paths.settings.crew.integration_branch
    if repository.tip(target) is not None:
        return False
    lock = repository.common_dir / f"refs/heads/{target}.lock"
    if lock.exists() and not process.is_git_at_work(repository.root, MARK):
        saving.remove_lock(lock)
    return repository.create_branch(target, repository.head(repository.root))
