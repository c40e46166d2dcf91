"""``crewyard status``: what the database says, checked against the processes of this moment (R-300, R-305).

A row says what was recorded last. Where nobody supervises, an agent's process may be gone and its row still say
``running``; a lease may be in force and its holder dead. Both are told here as they are.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from . import agents, clock, daemon, host, keeper, overview, process
from .daemon import Daemon
from .overview import AgentView, Overview
from .paths import Paths
from .process import Identity
from .store import Row, Store, Transaction
from .usage import Sampler


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


@dataclass(frozen=True)
class Status:
    """The yard. ``seen.supervisor`` is held only by a process that lives."""

    seen: Overview
    daemon: DaemonNow | None
    supervisor_uptime_seconds: float | None
    agents: list[AgentNow]

    @property
    def agents_running(self) -> int:
        """Those whose process was found; of ``len(agents)`` that were started and have not ended."""
        return sum(each.process_alive and each.view.status == "running" for each in self.agents)

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        told = asdict(self.seen)
        told["agents"] = [
            asdict(each.view) | {key: value for key, value in vars(each).items() if key != "view"}
            for each in self.agents
        ]
        return told | {
            "daemon": None if self.daemon is None else asdict(self.daemon),
            "supervisor_uptime_seconds": self.supervisor_uptime_seconds,
            "agents_running": self.agents_running,
            "agents_recorded": len(self.agents),
        }


@dataclass
class Look:
    """Looks at one yard, again and again."""

    paths: Paths
    store: Store
    _sampler: Sampler = field(default_factory=Sampler)

    def now(self) -> Status:
        """The yard at this moment."""
        moment = clock.now()
        seen, holder, rows = self.store.read(_rows, moment)
        present = daemon.running(self.paths)
        supervisor = seen.supervisor
        if supervisor is not None and supervisor.is_held and holder is not None and not process.is_alive(holder):
            supervisor = replace(supervisor, is_held=False)
        supervised = supervisor is not None and supervisor.is_held
        return Status(
            replace(seen, supervisor=supervisor),
            None if present is None else _daemon(present),
            host.uptime_of(supervisor.pid) if supervisor is not None and supervised else None,
            self._agents(seen.agents, rows, supervised=supervised),
        )

    def _agents(self, views: Sequence[AgentView], rows: dict[str, Row], *, supervised: bool) -> list[AgentNow]:
        trees = {view.agent_id: keeper.tree_of(rows[view.agent_id]) for view in views}
        kept = {name: tree for name, tree in trees.items() if _lives(tree.keeper)}
        use = self._sampler.look(kept)
        found = []
        for view in views:
            used = use.get(view.agent_id)
            is_kept = view.agent_id in kept
            is_alive = is_kept or _lives(trees[view.agent_id].root)
            note = "" if is_kept else _gone(view, is_alive=is_alive, supervised=supervised)
            cpu = None if used is None or used.cpu_percent is None else round(used.cpu_percent, 1)
            memory = None if used is None else round(used.memory_mb, 1)
            found.append(AgentNow(view, is_alive, cpu, memory, used.processes if used else 0, note))
        return found


def _lives(who: Identity | None) -> bool:
    return who is not None and process.is_alive(who)


def _rows(tx: Transaction, now: str) -> tuple[Overview, Identity | None, dict[str, Row]]:
    seen = overview.overview(tx, now=now, uptime=clock.uptime())
    row = tx.one("SELECT pid, start_time, boot_id FROM supervisor_lease WHERE id = 1")
    holder = None if row is None else Identity(*row)
    return seen, holder, {each["agent_id"]: each for each in agents.live(tx)}


def _gone(view: AgentView, *, is_alive: bool, supervised: bool) -> str:
    if view.status == "starting":
        return "" if supervised else "nobody supervises to start it"
    what = "its runner is gone" if is_alive else "its process is gone"
    return f"{what}; {'the supervisor takes' if supervised else 'nobody supervises to take'} that in"


def _daemon(present: Daemon) -> DaemonNow:
    return DaemonNow(
        present.pid, present.url, present.token_in, present.started_at, round(host.uptime_of(present.pid) or 0.0, 3)
    )
