"""``crewyard doctor``: is this machine, this repository and this yard fit for work, and what cures what is not?

A check is a function of what was found beforehand (``Patient``); it says what it saw and changes nothing. One that
cannot look says so, and the others go on. Those on demand start programs, and leave nothing behind.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import CrewyardError
from . import database, machine, programs, remains, rights, tryout, version_control
from .patient import Check, Finding, admit, problem

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
ON_DEMAND: tuple[tuple[str, Check], ...] = (("tried agents", tryout.tried),)


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


def examine(start: Path, *, tries: bool = False) -> Examination:
    """Look at everything, from any folder of a repository or outside of one; ``tries`` also runs each agent."""
    patient = admit(start)
    findings: list[Finding] = []
    for name, check in (*CHECKS, *(ON_DEMAND if tries else ())):
        try:
            findings += [each.named(name) for each in check(patient)]
        except (CrewyardError, OSError) as error:
            hint = error.hint if isinstance(error, CrewyardError) else ""
            findings.append(problem(f"this could not be looked at: {error}", hint).named(name))
    return Examination(str(patient.root or start.resolve()), findings)
