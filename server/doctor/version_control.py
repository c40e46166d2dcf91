"""git, the repository, its configuration and the branch that work is merged into."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from .. import merges, preflight
from ..errors import CrewyardError, DirtyWorkingDirectory, GitError
from ..git_calls import GitCalls
from ..repository import Repository
from ..settings import FILE_NAME
from .patient import Finding, Patient, fine, problem, warning

OLDEST_GIT = (2, 38)


def git(_patient: Patient) -> Iterator[Finding]:
    try:
        said = GitCalls(Path("/")).git("version")
    except GitError as error:
        yield problem(error.message, error.hint or "Install git 2.38 or newer.")
        return
    numbers = re.search(r"(\d+)\.(\d+)", said)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    if version < OLDEST_GIT:
        yield problem(f"{said} is too old: merges need `git merge-tree --write-tree`.", "Install git 2.38 or newer.")
    else:
        yield fine(said)


def repository(patient: Patient) -> Iterator[Finding]:
    if patient.no_repository is not None:
        error = patient.no_repository
        yield problem(error.message, error.hint)
        return
    found = patient.repository
    if found is None:
        return
    busy = found.operation_in_progress(found.root)
    if busy is not None:
        yield problem(f"{found.root} is in the middle of a {busy}.", f"Finish it, or call `git {busy} --abort`.")
    else:
        yield fine(str(found.root))


def configuration(patient: Patient) -> Iterator[Finding]:
    if patient.misconfigured is not None:
        error = patient.misconfigured
        line = _line_of(patient, str(error.details.get("key", "")))
        place = f" (line {line})" if line else ""
        yield problem(f"{error.message}{place}", f"{error.hint} Then call `crewyard doctor` again.")
        return
    there = patient.root is not None and (patient.root / FILE_NAME).exists()
    if there:
        yield fine(f"{FILE_NAME} is in order")
    elif patient.root is not None:
        yield warning(f"There is no {FILE_NAME}; every setting has its default.", "`crewyard init` writes one.")


def integration_branch(patient: Patient) -> Iterator[Finding]:
    found, target = patient.repository, patient.settings.crew.integration_branch
    if found is None or patient.misconfigured is not None:
        return
    if found.tip(target) is None:
        yield _missing_branch(patient, found, target)
    else:
        yield fine(f"{target} is at {(found.tip(target) or '')[:10]}")
    try:
        notes = preflight.require_fit(found, patient.settings)
    except DirtyWorkingDirectory as error:
        yield problem(error.message, error.hint)
    except GitError as error:
        if found.operation_in_progress(found.root) is None:  # that one is told of the repository
            yield problem(error.message, error.hint)
    else:
        for note in notes:
            yield warning(note, "Do so, where the agents should have it.")


def _missing_branch(patient: Patient, found: Repository, target: str) -> Finding:
    """A run makes it from HEAD, which loses nothing as long as HEAD has all that was merged into it."""
    merged = None if patient.store is None else patient.store.read(merges.last_into, target)
    if merged is None:
        return fine(f"{target} is not there yet; the first run makes it from HEAD")
    if found.is_ancestor(merged, "HEAD"):
        return fine(f"{target} is gone, and HEAD has all that was merged into it; the next run makes it from there")
    return problem(
        f"{target} is gone, and HEAD does not have what was merged into it; the last merge is {merged[:12]}.",
        f"`git branch {shlex.quote(target)} {merged}` brings it back, before anything is run.",
    )


def committer(patient: Patient) -> Iterator[Finding]:
    if patient.repository is None:
        return
    try:
        fallback = patient.repository.identity()
    except CrewyardError as error:
        yield warning(error.message, error.hint)
        return
    if fallback:
        name = f"{fallback['GIT_COMMITTER_NAME']} <{fallback['GIT_COMMITTER_EMAIL']}>"
        yield warning(
            f"git knows no name and address of yours; commits of ours carry {name}.",
            "`git config --global user.name NAME`, and the same for user.email.",
        )
    else:
        yield fine("git knows who commits")


def _line_of(patient: Patient, key: str) -> int | None:
    """The line of ``crewyard.toml`` that holds the last part of ``key``, below its table where that is written out."""
    if patient.root is None or not key:
        return None
    *tables, last = key.split(".")
    within = not tables
    for number, line in enumerate((patient.root / FILE_NAME).read_text(errors="replace").splitlines(), start=1):
        if heading := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            if heading[1].replace('"', "") == key:
                return number
            within = heading[1].replace('"', "") == ".".join(tables)
        elif within and re.match(rf'\s*"?{re.escape(last)}"?\s*=', line):
            return number
    return None
