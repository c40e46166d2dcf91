"""What checks look at, found once, and how they say what they saw."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .. import locating, settings
from ..errors import ConfigurationError, GitError, StoreError
from ..paths import InData, Paths
from ..repository import Repository
from ..settings import Settings
from ..store import Reader
from ..wording import plural

SHOWN = 5
State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check saw. ``cure`` is what to do about it: a sentence with the command to call."""

    check: str
    state: State
    what: str
    cure: str = ""

    def named(self, check: str) -> "Finding":
        return replace(self, check=check)


def fine(what: str) -> Finding:
    return Finding("", "ok", what)


def warning(what: str, cure: str) -> Finding:
    return Finding("", "warning", what, cure)


def problem(what: str, cure: str) -> Finding:
    return Finding("", "problem", what, cure)


def many(number: int, noun: str) -> str:
    return f"{number or 'no'} {plural(noun, number)}"


def shown(names: Sequence[object]) -> str:
    """The first of them, and how many there are beside."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(str(name) for name in names[:SHOWN]) + more


@dataclass(frozen=True)
class Patient:
    """``settings`` are the defaults where the configuration cannot be used: then ``misconfigured`` says why.

    ``repository`` is None outside of one, with git's word in ``no_repository``; ``store`` None where there is no
    database, or none that can be read.
    """

    start: Path
    repository: Repository | None
    no_repository: GitError | None
    settings: Settings
    misconfigured: ConfigurationError | None
    data: InData
    store: Reader | None

    @property
    def root(self) -> Path | None:
        return None if self.repository is None else self.repository.root

    @property
    def paths(self) -> Paths | None:
        return None if self.root is None else Paths(self.root, self.settings)


Check = Callable[[Patient], Iterable[Finding]]


def admit(start: Path) -> Patient:
    """Find out what there is to look at."""
    repository, no_repository, misconfigured = None, None, None
    try:
        repository = Repository.discover(start.resolve())
    except GitError as error:
        no_repository = error
    root = start.resolve() if repository is None else repository.root
    try:
        configured = settings.load(root)
    except ConfigurationError as error:
        misconfigured, configured = error, Settings()
    data: InData = Paths(root, configured)
    if misconfigured is not None:
        data = locating.data_of(root)
    return Patient(start, repository, no_repository, configured, misconfigured, data, _opened(data))


def _opened(data: InData) -> Reader | None:
    try:
        return Reader(data.database) if data.database.exists() else None
    except StoreError:
        return None
