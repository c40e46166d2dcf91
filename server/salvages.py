"""What is kept under refs/crewyard/salvage: the work of worktrees and branches that were removed (design 6)."""

import re
from dataclasses import dataclass

from . import names
from .errors import BranchExists, InvalidInput, NotFound
from .repository import Repository

PREFIX = "refs/crewyard/salvage/"
_PARTS = re.compile(r"(?P<task>.+)/(?P<day>\d{4}-\d\d-\d\d)T(?P<h>\d\d)(?P<m>\d\d)(?P<s>\d\d)(?P<ms>\d{3})Z(-\d+)?")


@dataclass(frozen=True)
class Salvage:
    """One ref; ``commits`` and ``files`` are those that the integration branch does not hold."""

    ref: str
    task_id: str
    kept_at: str
    commit: str
    subject: str
    commits: int
    files: int


def listed(repository: Repository, target: str) -> list[Salvage]:
    """Everything that is kept, the oldest first."""
    tip = repository.tip(target)
    found = [_read(repository, ref, commit, subject, tip) for ref, commit, subject in repository.refs(PREFIX)]
    return sorted(found, key=lambda each: (each.kept_at, each.ref))


def restore(repository: Repository, name: str, branch: str | None) -> tuple[Salvage, str]:
    """Make a branch at what is kept under ``name``, a ref in full or behind the prefix; no checkout is touched.

    Returns it with the branch's name. Raises NotFound, BranchExists, InvalidInput.
    """
    ref = name if name.startswith(PREFIX) else PREFIX + name
    kept = next((each for each in repository.refs(PREFIX) if each[0] == ref), None)
    if kept is None:
        raise NotFound(f"Nothing is kept under {ref}.", hint="`crewyard worktrees salvage` lists what is.", ref=ref)
    found = _read(repository, *kept, None)
    wanted = branch or f"salvaged-{found.task_id}"
    try:
        names.check_branch("--branch", wanted)
    except ValueError as error:
        raise InvalidInput(str(error), hint="Give --branch a name that git takes.") from error
    if not repository.create_branch(wanted, found.commit):
        raise BranchExists(
            f"There is a branch {wanted} already.", hint="Give another name: --branch NAME.", branch=wanted
        )
    return found, wanted


def _read(repository: Repository, ref: str, commit: str, subject: str, tip: str | None) -> Salvage:
    parts = _PARTS.fullmatch(ref.removeprefix(PREFIX))
    task_id = parts["task"] if parts else ref.removeprefix(PREFIX)
    kept_at = "{day}T{h}:{m}:{s}.{ms}Z".format(**parts.groupdict()) if parts else ""
    commits, files = (0, 0) if tip is None else repository.ahead(commit, tip)
    return Salvage(ref, task_id, kept_at, commit, subject, commits, files)
