"""What a server's tools ask of git and processes: recorded as wishes, which the acting supervisor carries out.

So one process acts, whichever server is asked, and a wish survives the server that recorded it. Each call waits until
the database shows what became of its wish.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio.to_thread

from . import (
    agent_processes,
    agents,
    assignments,
    clock,
    events,
    gates,
    host,
    identity,
    launches,
    lease,
    merges,
    preflight,
    preparing,
    process,
    resolutions,
    shortages,
    tasks,
    wishes,
    worktrees,
)
from .awaiting import awaited
from .cleanups import Cleanup
from .crew import Crew
from .errors import (
    BranchExists,
    DiskFull,
    GitError,
    ResourceExhaustion,
    SpawnFailed,
    StartupTimeout,
    WorktreeExists,
)
from .health import Measured
from .machine import Machine
from .repository import Repository
from .resolutions import Strategy
from .settings import Settings
from .store import Row, Store
from .supervisor import Charge, Supervisor
from .usage import Sampler
from .yard import CleanupOutcome, CreatedWorktree, MergeOutcome, Room, Spawned

P = ParamSpec("P")
T = TypeVar("T")


class _OfItsOwnCrew(Supervisor):
    """One that its crew was opened for: the database is closed when nothing of it acts any more."""

    def stop(self) -> None:
        super().stop()
        self.crew.store.close()


def supervisor_of_server(root: Path, settings: Settings) -> Supervisor:
    """One that does all there is to do. Raises GitError where the repository cannot be worked in."""
    return _OfItsOwnCrew(_crew_to_supervise(root, settings), ends_agents=settings.crew.on_exit == "stop")


def _crew_to_supervise(root: Path, settings: Settings) -> Crew:
    crew = _crew(root, settings)
    try:
        crew.repository.exclude(crew.paths.excludes())
    except BaseException:  # a client may ask again and again
        crew.store.close()
        raise
    return crew


def _crew(root: Path, settings: Settings) -> Crew:
    repository = Repository.discover(root)
    store = Store(Crew.database(repository, settings), durability=settings.crew.durability)
    return Crew.of(repository, settings, store)


class GitOperations:
    """``yard.Operations`` for one repository. Its calls block, and so run on worker threads."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self._root = root
        self._settings = settings
        self._opened: Crew | None = None
        self._charge = Charge()

    @property
    def _crew(self) -> Crew:
        if self._opened is None:
            self._opened = _crew(self._root, self._settings)
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.repository.close()

    async def require_fit(self, agent_types: Collection[str]) -> None:
        """Raises GitError, DirtyWorkingDirectory or ConfigurationError where a dispatch could not go well."""
        await _on_thread(self._require_fit, agent_types)

    def attend(self, task_ids: Collection[str], *, launch: bool = False) -> None:
        self._charge.tasks.update(task_ids)
        if launch:
            self._charge.launches.update(task_ids)
        self._crew.bell.ring()

    def supervisor_at_hand(self) -> Supervisor:
        return _OfItsOwnCrew(_crew_to_supervise(self._root, self._settings), charge=self._charge)

    async def is_supervised(self) -> bool:
        return await _on_thread(self._is_supervised)

    def _is_supervised(self) -> bool:
        row, me = self._crew.store.read(lease.current), process.myself()
        if row is None or not lease.is_held(row, uptime=clock.uptime()):
            return False
        holder = process.Identity(row["pid"], row["start_time"], row["boot_id"])
        return holder != me and process.is_alive(holder)

    async def create_worktree(
        self, task_id: str, *, base_branch: str | None, actor: str, folder: Path | None = None
    ) -> CreatedWorktree:
        return await _on_thread(self._create_worktree, task_id, base_branch, actor, folder)

    async def merge(self, task_id: str, *, approved_by: str | None, actor: str) -> MergeOutcome:
        return await _on_thread(self._merge, task_id, approved_by, actor)

    async def resolve(self, task_id: str, *, strategy: Strategy, actor: str) -> MergeOutcome:
        return await _on_thread(self._resolve, task_id, strategy, actor)

    async def cleanup(self, task_id: str | None, *, force: bool, dry_run: bool, actor: str) -> CleanupOutcome:
        return await _on_thread(self._cleanup, task_id, force, dry_run, actor)

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
        asked = {"timeout_seconds": timeout_seconds, "max_restarts": max_restarts, "instance_id": instance_id}
        return await _on_thread(self._spawn, task_id, agent_type, actor, **asked)

    async def measure(self, agent_ids: Collection[str]) -> Mapping[str, Measured]:
        return await _on_thread(self._measure, agent_ids)

    async def has_room(self, crowd: launches.Crowd) -> bool:
        seen = self._opened.machine.at_hand() if self._opened is not None else None
        if seen is None:
            seen = await _on_thread(self._look_at_machine)
        return not self._shut(host.load_of(seen), crowd)

    def _look_at_machine(self) -> Machine:
        return self._crew.machine.look()

    async def room(self) -> Room:
        return await _on_thread(self._room)

    def _room(self) -> Room:
        crew, limits = self._crew, self._crew.settings.launch
        seen = crew.machine.look()
        load, crowd = host.load_of(seen), crew.store.read(launches.crowd, clock.now())
        return Room(seen, self._shut(load, crowd), shortages.find(seen, load, limits, agents_at_work=crowd.at_work))

    def _shut(self, load: gates.Load, crowd: launches.Crowd) -> list[gates.Refusal]:
        return gates.all_shut(
            load,
            self._settings.launch,
            agents_at_work=crowd.at_work,
            launched_in_last_minute=crowd.launched_in_last_minute,
        )

    def _require_fit(self, agent_types: Collection[str]) -> None:
        crew = self._crew
        preflight.require_fit(crew.repository, crew.settings)
        preflight.require_agents(crew.settings, agent_types, crew.root)

    # --------------------------------------------------------------------------------------------- worktrees

    def _create_worktree(
        self, task_id: str, base_branch: str | None, actor: str, folder: Path | None
    ) -> CreatedWorktree:
        crew = self._crew
        crew.store.read(tasks.get, task_id)
        self.attend([task_id])
        if folder is not None and folder.is_relative_to(crew.root):
            crew.repository.exclude([f"/{folder.relative_to(crew.root).as_posix()}/"])
        present = crew.store.read(worktrees.live, task_id)
        if present is None:
            base = base_branch or crew.target
            if base == crew.target and preflight.prepare(crew.repository, crew.paths):
                self._tell_of_branch(actor)
            base_commit = crew.repository.require_tip(base)
            planned = crew.store.run(
                worktrees.plan,
                task_id,
                path=str(preparing.free_path(folder or crew.paths.worktree(task_id))),
                branch=crew.paths.branch(task_id),
                base_branch=base,
                base_commit=base_commit,
                now=clock.now(),
                actor=actor,
            )
        else:
            planned = present
        done = awaited(
            self._crew, partial(worktrees.get, worktree_id=planned.worktree_id), lambda w: w["status"] != "creating"
        )
        if done["status"] == "cleaned":
            raise _not_made(done)
        return CreatedWorktree(planned.path, planned.branch, planned.base_commit, created=present is None)

    def _tell_of_branch(self, actor: str) -> None:
        """The integration branch was missing, and has been made from HEAD."""
        crew = self._crew
        crew.store.run(
            events.record,
            now=clock.now(),
            actor=actor,
            subject_type="branch",
            subject_id=crew.target,
            kind="integration_branch_made",
            commit=crew.repository.require_tip(crew.target),
        )

    def _cleanup(self, task_id: str | None, force: bool, dry_run: bool, actor: str) -> CleanupOutcome:
        wanted = Cleanup(self._crew, self.attend, force, actor)
        if dry_run:
            return wanted.look(task_id)
        return wanted.of_all() if task_id is None else wanted.of(task_id)

    # ------------------------------------------------------------------------------------------------ merges

    def _merge(self, task_id: str, approved_by: str | None, actor: str) -> MergeOutcome:
        crew = self._crew
        self.attend([task_id])
        self._wait_for_proof(task_id)
        request = crew.store.run(
            identity.acting, actor, wishes.request_merge, (task_id, approved_by, clock.now(), actor)
        )
        if not crew.settings.merge.auto_approve and request["approved_by"] is None:
            return self._queued(request)
        return self._ended(request)

    def _resolve(self, task_id: str, strategy: Strategy, actor: str) -> MergeOutcome:
        self.attend([task_id], launch=strategy == "agent")
        request = self._crew.store.run(
            identity.acting, actor, resolutions.resolve, (task_id, strategy), {"now": clock.now(), "actor": actor}
        )
        self._crew.bell.ring()
        return self._ended(request) if strategy in ("ours", "theirs") else MergeOutcome(request["merge_id"])

    def _wait_for_proof(self, task_id: str) -> None:
        """The work of an agent that has ended is being proven; what cannot be merged is told by the request."""
        with contextlib.suppress(StartupTimeout):
            awaited(self._crew, partial(assignments.is_being_proven, task_id=task_id), lambda at_work: not at_work)

    def _ended(self, request: Row) -> MergeOutcome:
        """How the request ended, or where it waits. Raises MergeConflicts, MergeCheckFailed, GitError."""
        try:
            done = awaited(
                self._crew,
                partial(merges.get, merge_id=request["merge_id"]),
                lambda row: row["status"] not in ("queued", "checking") or row["not_before"] is not None,
            )
        except StartupTimeout:
            return self._queued(request)
        if done["status"] == "merged":
            return MergeOutcome(
                done["merge_id"],
                done["merge_commit"],
                done["files_changed"] or 0,
                done["insertions"] or 0,
                done["deletions"] or 0,
                settled=merges.settled_in(done),
            )
        if done["status"] == "queued":
            return self._queued(done)
        raise wishes.refusal(done)

    def _queued(self, request: Row) -> MergeOutcome:
        place = {row["merge_id"]: row["position"] for row in self._crew.store.read(merges.queue)}
        return MergeOutcome(request["merge_id"], position=place.get(request["merge_id"]))

    # ------------------------------------------------------------------------------------------------ agents

    def _spawn(self, task_id: str, agent_type: str | None, actor: str, **asked: Any) -> Spawned:
        crew = self._crew
        task = crew.store.read(tasks.get, task_id)
        wanted = agent_type or task["agent_type"] or crew.settings.default_agent
        self._require_fit([wanted])
        self._require_room()
        session = wishes.Session(
            task_id,
            wanted,
            limit=crew.settings.instance_limits.get(wanted),
            everywhere=crew.settings.launch.singleton_scope == "type",
            **asked,
        )
        assignment = crew.store.run(wishes.assign, session, now=clock.now(), actor=actor)
        self.attend([task_id], launch=True)
        begun = awaited(self._crew, partial(wishes.begun, assignment_id=assignment["orchestrator_task_id"]))
        if begun["agent_id"] is None:
            raise SpawnFailed(begun["error_message"] or "The agent could not be started.", task_id=task_id)
        return Spawned(begun["agent_id"], begun["pid"], begun["workspace"], begun["started_at"])

    def _require_room(self) -> None:
        """Raises ResourceExhaustion. A busy CPU slows launches down only, and is waited for."""
        refusal = next((each for each in self._room().refusals if each.reason in ("memory", "disk")), None)
        if refusal is not None:
            raise ResourceExhaustion(
                f"No agent is started now: {refusal.message}.",
                hint="Call again when there is room; assign(…) waits for it by itself.",
                reason=refusal.reason,
            )

    def _measure(self, agent_ids: Collection[str]) -> Mapping[str, Measured]:
        rows = [self._crew.store.read(agents.get, agent_id) for agent_id in agent_ids]
        trees = {row["agent_id"]: agent_processes.tree_of(row) for row in rows}
        used = Sampler().look(trees)
        found = {}
        for row in rows:
            name, root = row["agent_id"], trees[row["agent_id"]].root
            usage = used.get(name)
            found[name] = Measured(
                root is not None and process.is_alive(root),
                agent_processes.runner_lives(row),
                None if usage is None else usage.cpu_percent,
                None if usage is None else usage.memory_mb,
                0 if usage is None else usage.processes,
                0 if usage is None else usage.threads,
            )
        return found


def _not_made(worktree: Row) -> GitError:
    """Why git refused it, of which its record keeps the words."""
    words = worktree["kept_because"] or "The worktree could not be made."
    known = {"is checked out in": BranchExists, "There is no room for": DiskFull, "already": WorktreeExists}
    kind = next((known[part] for part in known if part in words), GitError)
    return kind(words, hint="Mend what it names, then ask again.", task_id=worktree["task_id"])


async def _on_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await anyio.to_thread.run_sync(partial(call, *args, **kwargs), abandon_on_cancel=True)
