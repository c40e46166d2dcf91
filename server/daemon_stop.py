"""``crewyard stop``: no more launches, every agent ended with its work kept, then the daemon (R-304, L-07, L-10).

It needs no daemon that works: a supervisor of its own stands by, and takes in and carries out the ends of the agents
where whoever held the lease is dead, or hangs until its time is over.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import agents, clock, daemon, holds, lease, process, settings, tasks, worktrees
from .crew import Crew
from .daemon import Daemon
from .errors import ConfigurationError, CrewyardError, IllegalTransition
from .paths import Paths
from .repository import Repository
from .settings import Settings
from .store import Store, Transaction
from .supervisor import Charge, Supervisor

ACTOR = "stop"
LOOK_SECONDS = 0.05
# Beyond the grace: the lease of a holder that hangs runs out, and the ends are taken in.
SPARE_SECONDS = lease.TTL_SECONDS + 5.0
DAEMON_SECONDS = 5.0
TAKE_OVER_SECONDS = 2.0
COMMAND_LENGTH = 100


@dataclass(frozen=True)
class EndedAgent:
    """An agent that lived when the stop began.

    ``has_commits``: its branch holds work. ``uncommitted``: its worktree holds changes that could not be committed.
    """

    agent_id: str
    task_id: str | None
    task_status: str | None
    status: str
    exit_signal: int | None
    branch: str | None
    worktree: str | None
    has_commits: bool
    uncommitted: bool


@dataclass(frozen=True)
class EndedDaemon:
    """``ended_by``: the signal that it took, or None where it still lives."""

    pid: int
    url: str
    ended_by: str | None


@dataclass(frozen=True)
class Other:
    """Another process that has the database open."""

    pid: int
    command: str


@dataclass
class Stopped:
    """What a stop has done. ``left`` are agents that still live."""

    daemon: EndedDaemon | None = None
    agents: list[EndedAgent] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    duration_seconds: float = 0.0

    @property
    def status(self) -> str:
        if self.left or (self.daemon is not None and self.daemon.ended_by is None):
            return "incomplete"
        return "stopped" if self.daemon or self.agents else "nothing_to_stop"


def stop(start: Path, *, force: bool, told: Callable[[str], None]) -> Stopped:
    """End every agent and the daemon; ``force`` gives them no time. ``told`` hears what is being waited for.

    Raises a CrewyardError where the repository or its configuration cannot be read.
    """
    began = time.monotonic()
    repository = Repository.discover(start)
    configured = _settings(repository.root, told)
    paths = Paths(repository.root, configured)
    stopped = Stopped()
    if paths.database.exists():
        with daemon.changing(paths, alone=False):
            _Stop(Crew.of(repository, configured, Store(paths.database)), force, told).carry_out(stopped)
    stopped.duration_seconds = round(time.monotonic() - began, 3)
    return stopped


def _settings(root: Path, told: Callable[[str], None]) -> Settings:
    """Those of the repository; the defaults will do to end what runs, where somebody broke its file meanwhile."""
    try:
        return settings.load(root)
    except ConfigurationError as error:
        defaults = Settings()
        if not Paths(root, defaults).database.exists():
            raise
        told(f"{error.message} Stopping with the default settings.")
        return defaults


class _Stop:
    def __init__(self, crew: Crew, force: bool, told: Callable[[str], None]) -> None:
        self.crew, self.told = crew, told
        self.grace = 0.0 if force else crew.settings.crew.grace_period_seconds
        self.asked: dict[str, None] = {}

    def carry_out(self, stopped: Stopped) -> None:
        crew = self.crew
        crew.store.run(holds.stop, now=clock.now(), actor=ACTOR)
        present = daemon.running(crew.paths)
        supervisor = Supervisor(crew, charge=Charge())
        supervisor.start()
        try:
            self._end_agents()
            if present is not None:
                stopped.daemon = self._end_daemon(present)
                self._end_agents()  # those that it could not end any more
                self._take_over()
            if crew.term:
                supervisor.end_checks()
            stopped.left = [row["agent_id"] for row in crew.store.read(agents.live)]
            stopped.agents = [self._ended(agent_id) for agent_id in self.asked if agent_id not in stopped.left]
        finally:
            supervisor.stop()
        stopped.others = self._others(present)
        crew.store.close()

    def _end_agents(self) -> None:
        """Ask for the end of every live agent, and wait for it, a bounded time."""
        deadline = time.monotonic() + self.grace + SPARE_SECONDS
        while live := self.crew.store.read(agents.live):
            new = [row["agent_id"] for row in live if row["agent_id"] not in self.asked]
            if new:
                self.told(f"Ending {', '.join(new)} ({self.grace:g} s of grace) …")
                self.asked.update(dict.fromkeys(new))
                self.crew.store.run(_ask, new, self.grace, clock.now())
                self.crew.bell.ring()
            if time.monotonic() >= deadline:
                return
            time.sleep(LOOK_SECONDS)

    def _end_daemon(self, who: Daemon) -> EndedDaemon:
        """By its identity, never by a bare pid."""
        for number, seconds in ((signal.SIGTERM, DAEMON_SECONDS), (signal.SIGKILL, DAEMON_SECONDS)):
            process.send(who.identity, number)
            if process.wait_until_gone(who.identity, seconds):
                return EndedDaemon(who.pid, who.url, number.name)
            self.told(f"The daemon (process {who.pid}) did not end on {number.name} …")
        return EndedDaemon(who.pid, who.url, None)

    def _take_over(self) -> None:
        """Wait until somebody who lives supervises: we ourselves, or another server."""
        deadline = time.monotonic() + TAKE_OVER_SECONDS
        while not self.crew.term and time.monotonic() < deadline:
            row = self.crew.store.read(lease.current)
            if lease.is_held(row, uptime=clock.uptime()) and row is not None:
                holder = process.Identity(row["pid"], row["start_time"], row["boot_id"])
                if process.is_alive(holder) and holder.pid != process.myself().pid:
                    return
            time.sleep(LOOK_SECONDS)

    def _ended(self, agent_id: str) -> EndedAgent:
        row = self.crew.store.read(agents.get, agent_id)
        task = self.crew.store.read(tasks.get, row["task_id"]) if row["task_id"] else None
        worktree = self.crew.store.read(worktrees.live, row["task_id"]) if row["task_id"] else None
        return EndedAgent(
            agent_id,
            row["task_id"],
            None if task is None else task["status"],
            row["status"],
            row["exit_signal"],
            None if worktree is None else worktree.branch,
            None if worktree is None else worktree.path,
            worktree is not None and self.crew.repository.tip(worktree.branch) != worktree.base_commit,
            worktree is not None and self._has_changes(Path(worktree.path)),
        )

    def _has_changes(self, path: Path) -> bool:
        try:
            return path.exists() and self.crew.repository.has_changes(path)
        except CrewyardError:
            return True

    def _others(self, present: Daemon | None) -> list[Other]:
        found = process.users_of(self.crew.paths.database)
        return [
            Other(who.pid, command[:COMMAND_LENGTH])
            for who, command in found
            if present is None or who.pid != present.pid
        ]


def _ask(tx: Transaction, agent_ids: list[str], grace: float, now: str) -> None:
    for agent_id in agent_ids:
        try:
            agents.request_kill(
                tx,
                agent_id,
                reason="the crew was stopped",
                outcome="release",
                grace_seconds=grace,
                now=now,
                actor=ACTOR,
            )
        except IllegalTransition:
            continue  # it has ended in this moment
