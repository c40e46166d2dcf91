"""``crewyard doctor``: is this machine, this repository and this yard fit for work, and what cures what is not?

A check is a function of what was found beforehand (``Patient``); it says what it saw and changes nothing. One that
cannot look says so, and the others go on. Those on demand start programs, and leave nothing behind.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import CrewyardError
from . import database, machine, programs, remains, rights, tryout, version_control
from .patient import Check, Finding, Patient, admit, problem

__all__ = ["Examination", "Finding", "examine"]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("git", version_control.git),
    ("repository", version_control.repository),
    ("configuration", version_control.configuration),
    ("integration branch", version_control.integration_branch),
    ("committer", version_control.committer),
    ("database", database.database),
    ("supervision", database.supervision),
    ("launches", database.launches),
    ("rights", rights.rights),
    ("agent programs", programs.configured),
    ("other agent programs", programs.others),
    ("limits", machine.limits),
    ("memory and disk", machine.room),
    ("worktrees", remains.worktrees),
    ("processes", remains.processes),
    ("credentials", remains.credentials_left),
)
TRIED = "tried agents"
ON_DEMAND: tuple[tuple[str, Check], ...] = ((TRIED, tryout.tried),)


@dataclass(frozen=True)
class Examination:
    """What all checks found, in their order."""

    repository: str
    findings: list[Finding]

    @property
    def problems(self) -> int:
        return sum(each.state == "problem" for each in self.findings)

    @property
    def warnings(self) -> int:
        return sum(each.state == "warning" for each in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        state = "problem" if self.problems else "warning" if self.warnings else "ok"
        return {
            "status": state,
            "repository": self.repository,
            "problems": self.problems,
            "warnings": self.warnings,
            "checks": [asdict(each) for each in self.findings],
        }


def examine(
    start: Path,
    *,
    tries: bool = False,
    begins: Callable[[str], None] = lambda _: None,
    told: Callable[[Finding], None] = lambda _: None,
) -> Examination:
    """Look at everything, from any folder of a repository or outside of one; ``tries`` also runs each agent.

    ``begins`` is called with the name of each check before it, ``told`` with what it finds as soon as it does.
    """
    patient = admit(start)
    findings: list[Finding] = []
    for name, check in (*CHECKS, *(ON_DEMAND if tries else ())):
        begins(name)
        for each in _found(patient, check):
            findings.append(each.named(name))
            told(findings[-1])
    return Examination(str(patient.root or start.resolve()), findings)


def _found(patient: Patient, check: Check) -> Iterator[Finding]:
    """What one check finds; what it had found stays where it then fails."""
    try:
        yield from check(patient)
    except (CrewyardError, OSError) as error:
        hint = error.hint if isinstance(error, CrewyardError) else ""
        yield problem(f"this could not be looked at: {error}", hint)
