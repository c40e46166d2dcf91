"""``crewyard status``: what the database says, checked against the processes of this moment (R-300, R-305).

A row says what was recorded last. Where nobody supervises, an agent's process may be gone and its row still say
``running``; a lease may be in force and its holder dead. Both are told here as they are. A look changes nothing.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import agent_processes, agents, attention, clock, daemon, locating, overview, process
from .attention import Delay, Need
from .daemon import Daemon
from .errors import OldSchema
from .locating import Located
from .overview import AgentView, Overview
from .process import Identity
from .store import Reader, Row, Store, Transaction
from .usage import Sampler, Tree, Usage
from .workflows.standing import Standing, standing

HOLDER = "SELECT pid, start_time, boot_id FROM supervisor_lease WHERE id = 1"


@dataclass(frozen=True)
class DaemonNow:
    """The daemon, alive."""

    pid: int
    url: str
    token_in: str
    started_at: str
    uptime_seconds: float


@dataclass(frozen=True)
class AgentNow:
    """A live agent as it stands. CPU (100 is all cores) and memory are of all its processes, None where unknown."""

    view: AgentView
    process_alive: bool
    cpu_percent: float | None
    memory_mb: float | None
    processes: int
    note: str = ""
    waits_for_answer: bool = False


@dataclass(frozen=True)
class Status:
    """The yard. ``seen.supervisor`` is held only by a process that lives; ``notes`` are what a person should know.

    ``left_ready`` tasks are ready and in no dispatch; ``unread`` messages wait for agents that live; ``configured`` are
    the agent types that the settings name, unchecked.
    """

    seen: Overview
    daemon: DaemonNow | None
    supervisor_uptime_seconds: float | None
    agents: list[AgentNow]
    needs: list[Need] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)
    left_ready: int = 0
    unread: int = 0
    configured: frozenset[str] = frozenset()
    workflows: Standing | None = None

    @property
    def agents_running(self) -> int:
        """Those whose process was found; of ``len(agents)`` that were started and have not ended."""
        return sum(each.process_alive and each.view.status == "running" for each in self.agents)

    @property
    def agents_max(self) -> int | None:
        """How many the dispatches at work let run at the same time; None where none is."""
        return sum(row.max_parallel for row in self.seen.dispatches if row.status == "active") or None

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        told = asdict(self.seen)
        told["agents"] = [
            asdict(each.view) | {key: value for key, value in vars(each).items() if key != "view"}
            for each in self.agents
        ]
        if told["supervisor"] is not None and not told["supervisor"]["is_held"]:
            told["supervisor"] |= {"pid": None, "last_pid": told["supervisor"]["pid"]}
        return told | {
            "daemon": None if self.daemon is None else asdict(self.daemon),
            "supervisor_uptime_seconds": self.supervisor_uptime_seconds,
            "agents_running": self.agents_running,
            "agents_recorded": len(self.agents),
            "agents_max": self.agents_max,
            "needs_person": [asdict(each) for each in self.needs],
            "restarts": [asdict(each) for each in self.delays],
            "ready_without_dispatch": self.left_ready,
            "messages_unread": self.unread,
            "notes": self.notes,
            "workflows": None if self.workflows is None else asdict(self.workflows),
        }


@contextmanager
def looking(start: Path) -> "Iterator[Look]":
    """A look at the yard that ``start`` lies in. Raises InvalidInput where there is none, GitError, StoreError."""
    located = locating.locate(start)
    store: Reader | Store
    try:
        store = Reader(located.files.database)
    except OldSchema:
        store = Store(located.files.database)  # migrated as by any other command, after a backup
    try:
        yield Look(located, store)
    finally:
        store.close()


@dataclass
class Look:
    """Looks at one yard, again and again. At first an agent's CPU is that since its start, then since the last look."""

    located: Located
    store: Reader | Store
    _sampler: Sampler = field(default_factory=Sampler)

    def now(self, *, with_messages: bool = True) -> Status:
        """The yard at this moment."""
        moment = clock.now()
        seen, known, holder, rows = self.store.read(
            _rows, moment, auto_approve=self.located.approves_by_itself, with_messages=with_messages
        )
        asking = {each.agent_id for each in known["needs"]}
        present = daemon.running(self.located.files)
        supervisor = seen.supervisor
        age = process.age_of(holder) if holder is not None and supervisor is not None and supervisor.is_held else None
        if supervisor is not None and age is None:
            supervisor = replace(supervisor, is_held=False)
        return Status(
            replace(seen, supervisor=supervisor),
            None if present is None else _daemon(present),
            None if age is None else round(age, 3),
            [
                replace(each, waits_for_answer=each.view.agent_id in asking)
                for each in self._agents(seen.agents, rows, supervised=age is not None)
            ],
            notes=self._notes(present),
            configured=self.located.agent_types,
            **known,
        )

    def gone(self) -> frozenset[str]:
        """Agents that were recorded as running last, and whose processes are not there."""
        trees = {row["agent_id"]: agent_processes.tree_of(row) for row in self.store.read(agents.live)}
        return frozenset(name for name, tree in trees.items() if not _lives(tree.keeper) and not _lives(tree.root))

    def clock(self) -> float:
        """The time that the lease goes by; beyond every term where its holder does not live."""
        row = self.store.read(lambda tx: tx.one(HOLDER))
        return clock.uptime() if row is not None and process.is_alive(Identity(*row)) else math.inf

    def _notes(self, present: Daemon | None) -> list[str]:
        found = []
        if wrong := locating.check(self.located):
            fault = f"The configuration cannot be used: {wrong.rstrip('.')}."
            found.append(f"{fault} What is shown is true; nothing new can be started.")
        if present is not None and present.configuration not in ("", self.located.fingerprint):
            found.append(
                f"{locating.FILE_NAME} has changed since the daemon started, which goes on with the old one: "
                "`crewyard stop`, then `crewyard start` takes it in."
            )
        return found

    def _agents(self, views: Sequence[AgentView], rows: dict[str, Row], *, supervised: bool) -> list[AgentNow]:
        trees = {view.agent_id: agent_processes.tree_of(rows[view.agent_id]) for view in views}
        kept = {name: tree for name, tree in trees.items() if _lives(tree.keeper)}
        use = self._sampler.glance(kept)
        found = []
        for view in views:
            used = use.get(view.agent_id)
            is_kept = view.agent_id in kept
            is_alive = is_kept or _lives(trees[view.agent_id].root)
            note = "" if is_kept else _gone(view, is_alive=is_alive, supervised=supervised)
            cpu = None if used is None else round(_cpu_of(used, trees[view.agent_id]), 1)
            memory = None if used is None else round(used.memory_mb, 1)
            found.append(AgentNow(view, is_alive, cpu, memory, used.processes if used else 0, note))
        return found


def _cpu_of(used: Usage, tree: Tree) -> float:
    """Percent of all cores since the last look; at first since the agent began, as ps tells it."""
    if used.cpu_percent is not None:
        return used.cpu_percent
    began = tree.keeper or tree.root
    age = None if began is None else process.age_of(began)
    return min(100.0, 100 * used.seconds / age / (os.cpu_count() or 1)) if age else 0.0


def _lives(who: Identity | None) -> bool:
    return who is not None and process.is_alive(who)


def _rows(
    tx: Transaction, now: str, *, auto_approve: bool, with_messages: bool
) -> tuple[Overview, dict[str, Any], Identity | None, dict[str, Row]]:
    seen = overview.overview(tx, now=now, uptime=clock.uptime(), with_messages=with_messages)
    row = tx.one(HOLDER)
    holder = None if row is None else Identity(*row)
    known = {
        "needs": attention.needs(tx, auto_approve=auto_approve),
        "delays": attention.delays(tx, now),
        "left_ready": attention.left_ready(tx),
        "unread": attention.unread(tx),
        "workflows": standing(tx, now=now),
    }
    return seen, known, holder, {each["agent_id"]: each for each in agents.live(tx)}


def _gone(view: AgentView, *, is_alive: bool, supervised: bool) -> str:
    if view.status == "starting":
        return "" if supervised else "nobody supervises to start it"
    what = "its runner is gone" if is_alive else "its process is gone"
    return f"{what}; {'the supervisor takes' if supervised else 'nobody supervises to take'} that in"


def _daemon(present: Daemon) -> DaemonNow:
    age = process.age_of(present.identity) or 0.0
    return DaemonNow(present.pid, present.url, present.token_in, present.started_at, round(age, 3))
