"""Makes a new checkout fit for work: its submodules, and the user's own setup (dependencies, a link to `.env`).

What was done is noted in git's folder of the worktree, so that a setup that was cut off is run again.
"""

import shlex
from pathlib import Path

from . import environment, journals, runners, submodules, workspaces
from .crew import Crew
from .errors import SetupFailed, SpawnFailed, UncommittedChanges
from .runners import Finished

FILES_SHOWN = 5
LINES_SHOWN = 5


def prepare(crew: Crew, task_id: str, path: Path) -> None:
    """Make a task's worktree fit, unless that was done. Raises GitError, SetupFailed, UncommittedChanges."""
    done = crew.repository.admin_dir(path) / workspaces.SETUP_DONE
    if done.exists():
        return
    submodules.populate(crew.repository, path)
    if crew.settings.worktree.setup:
        before, stand = crew.repository.changed_files_at(path), _stand(crew, path)
        log = crew.paths.setup_log(f"task-{task_id}")
        _require_success(crew, _run_setup(crew, task_id, path, log), log)
        _refuse_leavings(crew.repository.changed_files_at(path) - before)
        if _stand(crew, path) != stand:
            raise SetupFailed(
                "worktree.setup commits or switches branches, which would count as the agent's work.",
                hint="Leave that out of worktree.setup in crewyard.toml.",
            )
    done.touch()


def prepare_for_check(crew: Crew, task_id: str, path: Path) -> None:
    """Make the tree of a merge fit for its check. Raises GitError, SetupFailed."""
    submodules.populate(crew.repository, path)
    if crew.settings.worktree.setup:
        log = crew.paths.setup_log(f"merge-{task_id}")
        _require_success(crew, _run_setup(crew, task_id, path, log), log)


def _run_setup(crew: Crew, task_id: str, path: Path, log: Path) -> Finished:
    """Raises SetupFailed where it cannot be started."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ours = {"CREWYARD_TASK_ID": task_id, "CREWYARD_WORKTREE": str(path), "CREWYARD_ROOT": str(crew.root)}
    try:
        return crew.runners.check(
            crew.settings.worktree.setup,
            cwd=path,
            log=log,
            timeout_seconds=crew.settings.worktree.setup_timeout_seconds,
            environment={**environment.for_child([]), **ours},
        )
    except SpawnFailed as error:
        raise SetupFailed(f"worktree.setup: {error.message}", hint="Mend worktree.setup in crewyard.toml.") from error


def end_setups(crew: Crew) -> None:
    """End those at work, so that stopping does not wait for them; they are run again later."""
    for log in sorted(crew.paths.setups.glob("*.log")):
        runners.end_check(log)


def _require_success(crew: Crew, done: Finished, log: Path) -> None:
    if done.code == 0:
        return
    how = "ran out of time" if done.code is None else f"ended with {done.code}"
    command = shlex.join(crew.settings.worktree.setup)
    last = "\n".join(journals.tail(log).strip().splitlines()[-LINES_SHOWN:])
    raise SetupFailed(
        f"The setup `{command}` {how} after {done.seconds:.1f} s (all of it: {log}).\n{last}".strip(),
        hint="Mend worktree.setup in crewyard.toml, or what it needs, then start again.",
        log=str(log),
    )


def _stand(crew: Crew, path: Path) -> tuple[str | None, str]:
    return crew.repository.branch_at(path), crew.repository.head(path)


def _refuse_leavings(names: set[str]) -> None:
    """Raises UncommittedChanges: what git does not ignore would be committed as an agent's work."""
    if names:
        shown = sorted(names)
        words = ", ".join(shown[:FILES_SHOWN]) + (
            f" and {len(shown) - FILES_SHOWN} more" if shown[FILES_SHOWN:] else ""
        )
        raise UncommittedChanges(
            f"worktree.setup leaves {words}, which would be committed as the agent's work.",
            hint="Name it in .gitignore, or in .git/info/exclude.",
            files=shown,
        )
