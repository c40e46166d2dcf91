"""What a server works with: its repository, its settings, the open database, and the doors to git and processes.

Tools and resources see the effects only as ``Operations`` (implemented in ``operations``, wired by ``compose``). A yard
is opened by the first client and closed by the last: each in-process client enters the server's lifespan anew.
"""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import anyio
import anyio.to_thread

from . import clock, identity
from .async_store import AsyncStore
from .changes import Changes
from .gates import Refusal
from .health import Measured
from .identity import Caller
from .launches import Crowd
from .machine import Machine
from .paths import Paths
from .resolutions import Strategy
from .settings import Settings
from .shortages import Shortage
from .store import Unit
from .wakeup import Bell
from .why_launches import Bounds
from .worktrees import Candidate

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)
STOP_SECONDS = 0.25
MAIL = {"message"}  # a supervisor has nothing to do at once for it; when it lapses is looked up every few seconds


@dataclass(frozen=True)
class CreatedWorktree:
    """A task's worktree as it stands on disk; ``created`` is False where it was there already."""

    path: str
    branch: str
    base_commit: str
    created: bool


@dataclass(frozen=True)
class MergeOutcome:
    """A merge that has happened (``merge_commit``), or the place in the queue where it waits."""

    merge_id: int
    merge_commit: str | None = None
    files_changed: int = 0
    insertions: int = 0
    deletions: int = 0
    position: int | None = None
    settled: list[str] = field(default_factory=list)  # conflicts that no agent has resolved, and how


@dataclass(frozen=True)
class CleanupOutcome:
    """What was removed, and what of it was kept under a salvage ref; ``candidates`` were looked at.

    Of those that were to be removed and were ``refused``, the candidate's reason says why.
    """

    cleaned_up: list[str]
    disk_space_freed_mb: float
    salvage_refs: list[str]
    candidates: list[Candidate]
    refused: int = 0


@dataclass(frozen=True)
class Spawned:
    """An agent whose process runs."""

    agent_id: str
    pid: int | None
    worktree_path: str
    started_at: str


@dataclass(frozen=True)
class Room:
    """The machine as it is seen, and for what the gates would not launch another agent at this moment."""

    seen: Machine
    refusals: list[Refusal]
    short_of: list[Shortage]


class Operations(Protocol):
    """What needs git or processes. Each raises a CrewyardError and then has changed nothing."""

    def close(self) -> None:
        """End what stays open between calls; the next call opens it again."""
        ...

    async def require_fit(self, agent_types: Collection[str]) -> None:
        """Raises GitError, DirtyWorkingDirectory or ConfigurationError where a dispatch could not go well."""
        ...

    def attend(self, task_ids: Collection[str], *, launch: bool = False) -> None:
        """Have a supervisor at hand go on with the work of these tasks; ``launch``: and with their next agents."""
        ...

    def supervisor_at_hand(self) -> "Supervisor":
        """One that does what this process asks for and nothing else, and leaves the agents behind that it starts."""
        ...

    async def is_supervised(self) -> bool:
        """Whether a supervisor of another process acts."""
        ...

    async def create_worktree(
        self, task_id: str, *, base_branch: str | None, actor: str, folder: Path | None = None
    ) -> CreatedWorktree:
        """``folder``: where it is to lie, else where the settings say.

        Raises TaskNotFound, BranchNotFound, BranchExists, WorktreeExists, GitError.
        """
        ...

    async def merge(self, task_id: str, *, approved_by: str | None, actor: str) -> MergeOutcome:
        """Merge proven work, or leave it in the queue. Raises TaskNotCompleted, MergeConflicts, MergeCheckFailed, …"""
        ...

    async def resolve(self, task_id: str, *, strategy: Strategy, actor: str) -> MergeOutcome:
        """Go on with a merge that conflicts. Raises TaskNotFound, IllegalTransition, StillInUse, MergeConflicts, …"""
        ...

    async def cleanup(self, task_id: str | None, *, force: bool, dry_run: bool, actor: str) -> CleanupOutcome:
        """Remove one task's worktree, or all that may be. Raises NotMerged, StillInUse, UncommittedChanges for one."""
        ...

    async def has_room(self, crowd: Crowd) -> bool:
        """Whether the machine can take another agent, as it was seen within the last second."""
        ...

    async def room(self) -> Room:
        """How full the machine is, and whether it takes another agent: what the dispatcher decides by."""
        ...

    async def measure(self, agent_ids: Collection[str]) -> Mapping[str, Measured]:
        """What the processes of each of these agents use at this moment."""
        ...

    async def spawn(
        self,
        task_id: str,
        *,
        agent_type: str | None,
        timeout_seconds: float | None,
        actor: str,
        max_restarts: int | None = None,
        instance_id: str | None = None,
    ) -> Spawned:
        """Start an agent on a ready task now; ``max_restarts`` in place of the setting.

        Raises SingletonViolation, SpawnFailed, ResourceExhaustion, …
        """
        ...


class Supervisor(Protocol):
    """The thread that works dispatches off while this process holds the lease. Both calls may be made twice."""

    def start(self) -> None:
        """Returns when the thread runs."""
        ...

    def stop(self) -> None:
        """Returns when it has stopped."""
        ...


class NoSupervisor:
    """A worker's server, and a test, let others supervise."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass
class _Opened:
    """What all views of one yard share while it is open."""

    store: AsyncStore | None = None
    changes: Changes | None = None
    operations: Operations | None = None
    supervisor: Supervisor | None = None
    is_supervised: bool = False
    users: int = 0
    gate: anyio.Lock = field(default_factory=anyio.Lock)
    starting: anyio.Lock = field(default_factory=anyio.Lock)


@dataclass
class Yard:
    """One repository as one server sees it.

    With an agent's ``token`` the server is that agent's alone; with ``presented`` it is any agent's, by the token that
    came with the request that is being answered. Without both it is the lead's. ``supervise`` makes a new supervisor
    at each opening, since one that was stopped does not start again; ``operate`` makes the doors, once.
    """

    root: Path
    settings: Settings
    operate: Callable[[], Operations]
    supervise: Callable[[], Supervisor] = NoSupervisor
    token: str | None = None
    presented: Callable[[], str] | None = None
    stop_seconds: float = STOP_SECONDS  # how long a close waits for the supervisor; a client does not wait long
    _opened: _Opened = field(default_factory=_Opened)

    def for_agents(self, presented: Callable[[], str]) -> "Yard":
        """The same yard, opened once for both, as its agents see it."""
        return replace(self, presented=presented)

    @property
    def is_workers(self) -> bool:
        return self.token is not None or self.presented is not None

    @property
    def paths(self) -> Paths:
        return Paths(self.root, self.settings)

    @property
    def agent_types(self) -> set[str]:
        """The types that a task may name."""
        return {*self.settings.agents, *self.settings.built_in, self.settings.default_agent}

    @property
    def bounds(self) -> Bounds:
        """The settings that hold work back."""
        settings = self.settings
        return Bounds(
            settings.default_agent, settings.instance_limits, settings.merge.auto_approve, uptime=clock.uptime(),
            stages=settings.stages,
        )  # fmt: skip

    @property
    def operations(self) -> Operations:
        """The doors to git and processes."""
        if self._opened.operations is None:
            self._opened.operations = self.operate()
        return self._opened.operations

    @property
    def is_for_one_call(self) -> bool:
        """Whether what it supervises is over with the call that is answered."""
        return self.supervise == self.operations.supervisor_at_hand

    @property
    def store(self) -> AsyncStore:
        """The open database. A RuntimeError means that the server's lifespan was not entered."""
        if self._opened.store is None:
            raise RuntimeError("the yard is not open")
        return self._opened.store

    @property
    def changes(self) -> Changes:
        """What wakes who waits for the database. A RuntimeError as for ``store``."""
        if self._opened.changes is None:
            raise RuntimeError("the yard is not open")
        return self._opened.changes

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Yard"]:
        """Open the database for the first user; close it after the last, and end the supervisor that there may be."""
        shared = self._opened
        async with shared.gate:
            if shared.users == 0:
                await self._open()
            shared.users += 1
        try:
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                async with shared.gate:
                    shared.users -= 1
                    if shared.users == 0:
                        await self._close()

    async def supervised(self) -> None:
        """Start the supervisor, where it is not at work yet. Raises GitError where it cannot; it may be asked again.

        Whoever is cancelled meanwhile does not wait for its first round; the close of the yard ends it.
        """
        shared = self._opened
        if shared.is_supervised:
            return
        async with shared.starting:
            if shared.supervisor is None:
                shared.supervisor = await anyio.to_thread.run_sync(self.supervise)
                await anyio.to_thread.run_sync(shared.supervisor.start, abandon_on_cancel=True)
            shared.is_supervised = True

    async def caller(self) -> Caller:
        """Who calls. Raises NotAuthorized where the agent whose token it is lives no more."""
        token = self.presented() if self.presented is not None else self.token
        if token is None:
            return identity.THE_LEAD
        return await self.store.read(identity.of_token, token, self.settings.merge.authorized_roles)

    async def run(self, caller: Caller, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``store.run`` for a caller. Raises NotAuthorized where it has ended meanwhile, and then has done nothing."""
        return await self.store.run(identity.acting, caller.name, unit, args, kwargs)

    async def run_again_if_lost(self, caller: Caller, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``store.run_again_if_lost`` for a caller, as ``run``."""
        return await self.store.run_again_if_lost(identity.acting, caller.name, unit, args, kwargs)

    async def read(self, caller: Caller, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``store.read`` for a caller, as ``run``."""
        return await self.store.read(identity.acting, caller.name, unit, args, kwargs)

    async def _open(self) -> None:
        bell = Bell(self.paths.bell)

        def wake(subjects: Collection[str]) -> None:
            if subjects != MAIL:
                bell.ring()

        store = AsyncStore(self.paths.database, after_commit=wake, durability=self.settings.crew.durability)
        await store.open()
        shared = self._opened
        shared.store, shared.changes = store, Changes(store)

    async def _close(self) -> None:
        shared = self._opened
        store, shared.store, shared.changes = shared.store, None, None
        supervisor, shared.supervisor, shared.is_supervised = shared.supervisor, None, False
        try:
            if supervisor is not None:
                await self._stop(supervisor)
            if shared.operations is not None:
                shared.operations.close()
        finally:
            if store is not None:
                await store.close()

    async def _stop(self, supervisor: Supervisor) -> None:
        with anyio.move_on_after(self.stop_seconds) as stopping:
            await anyio.to_thread.run_sync(supervisor.stop, abandon_on_cancel=True)
        if stopping.cancelled_caught:
            logger.warning("the supervisor was still busy after %g s", self.stop_seconds)
