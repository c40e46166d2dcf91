"""What the supervisor's steps share: the repository, the store, and the term under which they may write."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from . import clock, failed_starts, host, lease, process
from .git_config import GitConfig
from .paths import Paths
from .repository import Repository
from .runners import Runners
from .settings import Settings
from .store import Store, Transaction
from .wakeup import Bell

P = ParamSpec("P")
T = TypeVar("T")
ACTOR = "supervisor"


@dataclass
class Crew:
    """One repository and its crew. ``term`` is 0 while another server's supervisor acts."""

    repository: Repository
    settings: Settings
    paths: Paths
    store: Store
    bell: Bell
    runners: Runners
    git_config: GitConfig
    term: int = 0
    machine: host.Watch = field(default_factory=lambda: host.Watch(Path("/")))
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, repository: Repository, settings: Settings, store: Store) -> "Crew":
        paths = Paths(repository.root, settings)
        me = process.myself()
        repository.mark = f"{me.pid}:{me.start_time}"
        made = cls(repository, settings, paths, store, Bell(paths.bell), Runners(paths.runs), GitConfig(repository))
        made.machine = host.Watch(paths.worktrees)
        return made

    @staticmethod
    def database(repository: Repository, settings: Settings) -> Path:
        return Paths(repository.root, settings).database

    @property
    def root(self) -> Path:
        return self.repository.root

    @property
    def target(self) -> str:
        return self.settings.crew.integration_branch

    @property
    def starts(self) -> failed_starts.Limits:
        """When failed starts hold a type of agent."""
        limits = self.settings.launch
        return failed_starts.Limits(
            limits.failed_start_seconds,
            limits.failed_starts,
            self.settings.failed_starts_pause,
            self.settings.backoff[1],
            limits.failed_starts_pauses,
        )

    def write(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of work under the lease, in one transaction with its check. Raises LeaseLost."""

        return self.store.run(self._fenced, unit, *args, **kwargs)

    def take_in(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``write``, without waiting for the disk: for what a journal or git tells again after a power cut."""
        return self.store.run_again_if_lost(self._fenced, unit, *args, **kwargs)

    def note(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``write``, for samples, which wake nobody."""
        return self.store.note(self._fenced, unit, *args, **kwargs)

    def _fenced(
        self, tx: Transaction, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        lease.require(tx, self.term, uptime=clock.uptime())
        return unit(tx, *args, **kwargs)

    def require_lease(self) -> None:
        """Raises LeaseLost. Asked last before anything is done to the world that a successor could do as well."""
        self.store.read(lease.require, self.term, uptime=clock.uptime())
