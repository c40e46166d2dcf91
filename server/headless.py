"""``crewyard run``: import a plan, work it off, and say what became of it; no client and no model needed."""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

from . import agents, clock, dispatches, holds, outcomes, plans, preflight, process, readers, tasks, watchers
from .crew import Crew
from .errors import CrewyardError, DatabaseBusy, PlanRefused
from .paths import Paths
from .plans import ImportReport
from .readers.draft import PlanDraft
from .repository import Repository
from .settings import Settings
from .store import Store, Transaction
from .supervisor import Supervisor

T = TypeVar("T")
log = logging.getLogger(__name__)

ACTOR = "run"
LOOK_SECONDS = 0.05
BUSY_SECONDS = 60.0
Fate = Literal["ended", "another_runs", "open"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Prepared:
    """A run that nothing speaks against; so far nothing was changed."""

    repository: Repository
    settings: Settings
    draft: PlanDraft
    agent_type: str | None
    max_parallel: int
    notes: list[str]


@dataclass
class Begun:
    """A run on its way: what was imported, and the dispatch that works it off (None where all is done already)."""

    crew: Crew
    report: ImportReport
    task_ids: list[str]
    dispatch_id: str | None
    joined: bool
    reopened: list[str]
    branch_made: bool
    let_in: list[str]  # types of agents that `crewyard start --agents` had left out
    began: float = field(default_factory=time.monotonic)
    interrupted: bool = False
    fate: Fate = "another_runs"  # of its agents, after an interruption
    stopped: bool = False  # by `crewyard stop`


def prepare(
    start: Path, plan: Path, settings_of: Callable[[Path], Settings], *, max_parallel: int | None, agent: str | None
) -> Prepared:
    """Check repository, configuration, plan and agents. Raises a CrewyardError, and then nothing was changed."""
    repository = Repository.discover(start)
    settings = settings_of(repository.root)
    notes = preflight.require_fit(repository, settings, ours=[plan])
    agent_type = preflight.resolve_agent(settings, agent) if agent else None
    draft = read_plan(plan, settings, known_tasks(Paths(repository.root, settings)))
    prepared = Prepared(repository, settings, draft, agent_type, max_parallel or settings.crew.max_parallel, notes)
    preflight.require_agents(settings, _types(prepared), repository.root)
    return prepared


def read_plan(plan: Path, settings: Settings, known: frozenset[str]) -> PlanDraft:
    """The plan in a file. Raises PlanRefused."""
    try:
        data = plan.read_bytes()
    except OSError as error:
        raise PlanRefused(f"{plan}: {error.strerror}.", hint="Give the path of a plan file.") from error
    return readers.read_plan(data, name=str(plan), subtasks=settings.plans.subtasks, known=known)


def begin(prepared: Prepared) -> Begun:
    """Make the integration branch where it is missing, import the plan, and begin or join its dispatch."""
    paths = Paths(prepared.repository.root, prepared.settings)
    durability = prepared.settings.crew.durability
    store = _insist(partial(Store, paths.database, durability=durability), BUSY_SECONDS)
    crew = Crew.of(prepared.repository, prepared.settings, store)
    branch_made = preflight.prepare(prepared.repository, paths)
    who = _me()
    begin = partial(store.run, _begin, prepared, who, clock.now())
    report, task_ids, dispatch_id, joined, reopened = _insist(begin, BUSY_SECONDS)
    report = replace(report, warnings=[*prepared.notes, *report.warnings])
    crew.bell.ring()
    let_in = _insist(partial(store.run, holds.let_in, _types(prepared), now=clock.now(), actor=ACTOR), BUSY_SECONDS)
    return Begun(crew, report, task_ids, dispatch_id, joined, reopened, branch_made, let_in)


@dataclass
class Interruptions:
    """How often SIGINT, SIGTERM or SIGHUP came in."""

    times: int = 0

    def note(self, _number: int, _frame: FrameType | None) -> None:
        self.times += 1  # and no more: a lock taken here could be the one that this very thread holds


@contextmanager
def interruptible() -> Iterator[Interruptions]:
    """Take signals down instead of dying by them. From before ``begin`` on: a run that is registered as one that
    waits for the agents must not go without having dealt with them."""
    seen = Interruptions()
    before = {number: signal.signal(number, seen.note) for number in SIGNALS}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def work_off(begun: Begun, look: Callable[[], None], signals: Interruptions) -> None:
    """Supervise until the dispatch is over; ``look`` is called twenty times a second, to show how it stands.

    An interruption pauses the dispatch and ends its agents with their work kept; a second one at once. A third leaves
    those alone whose end is not recorded yet: whoever goes on takes it in.
    """
    if begun.dispatch_id is None:
        return
    supervisor = Supervisor(begun.crew)
    supervisor.start()
    try:
        while not signals.times and _goes_on(begun) and not _was_stopped(begun):
            look()
            time.sleep(LOOK_SECONDS)
        if signals.times or begun.stopped:
            begun.interrupted = True
            begun.fate = _interrupt(begun, look, signals)
        else:
            _insist(partial(begun.crew.store.run, watchers.remove, begun.dispatch_id, _me()))
    finally:
        supervisor.stop()
    look()


def summary(begun: Begun) -> dict[str, Any]:
    """The object that ``--json`` prints (contract 2)."""
    found = begun.crew.store.read(outcomes.of_tasks, begun.task_ids, over=not begun.interrupted)
    return {
        "status": "interrupted" if begun.interrupted else outcomes.verdict(found),
        "duration_seconds": round(time.monotonic() - begun.began, 3),
        "dispatch_id": begun.dispatch_id,
        "integration_branch": begun.crew.target,
        "warnings": begun.report.warnings,
        "tasks": found,
        "totals": outcomes.totals(found),
    }


def refusal(error: CrewyardError) -> dict[str, Any]:
    """The object that ``--json`` prints where nothing was begun."""
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return {"status": "refused", "duration_seconds": 0.0, "error": told, "tasks": [], "totals": outcomes.totals([])}


def _types(prepared: Prepared) -> set[str]:
    """The types of agents that the plan needs."""
    default = prepared.settings.default_agent
    return {prepared.agent_type or task.agent_type or default for task in prepared.draft.tasks}


def exit_code(result: dict[str, Any]) -> int:
    """0 every task in scope is merged, 1 not all are, 130 interrupted (contract 2)."""
    return {"success": 0, "interrupted": 130}.get(result["status"], 1)


def _begin(
    tx: Transaction, prepared: Prepared, who: tuple[int, str, str], now: str
) -> tuple[ImportReport, list[str], str | None, bool, list[str]]:
    known = {*prepared.settings.agents, *prepared.settings.built_in, prepared.settings.default_agent}
    task_ids = [task.task_id for task in prepared.draft.tasks if task.status != "cancelled"]
    holds.lift_troubles(tx, now=now, actor=ACTOR)
    # Before the import, so that what failed takes up a text that was mended meanwhile.
    present = dispatches.of_scope(tx, task_ids)
    at_work = present is not None and present["status"] == "active"
    reopened = [] if at_work else dispatches.reopen_failed(tx, task_ids, now=now, actor=ACTOR)
    report = plans.import_plan(tx, prepared.draft, now=now, actor=ACTOR, agent_types=known)
    open_ids = [task_id for task_id in task_ids if tasks.get(tx, task_id)["status"] not in ("completed", "cancelled")]
    # A dispatch that is still open has worktrees to clean up, even where every task is done.
    if not open_ids and dispatches.of_scope(tx, task_ids) is None:
        return report, task_ids, None, False, reopened
    row, is_new = dispatches.open_or_join(
        tx, task_ids, max_parallel=prepared.max_parallel, agent_type=prepared.agent_type, now=now, actor=ACTOR
    )
    watchers.add(tx, row["dispatch_id"], who, now=now)
    return report, task_ids, row["dispatch_id"], not is_new, reopened


def _goes_on(begun: Begun) -> bool:
    row = begun.crew.store.read(dispatches.get, begun.dispatch_id or "")
    return row["status"] in ("active", "paused")


def _was_stopped(begun: Begun) -> bool:
    """Whether somebody stopped the yard: then nothing of this run goes on before a person wants it to."""
    stop = begun.crew.store.read(holds.get, holds.EVERYONE, "stopped")
    begun.stopped = stop is not None
    return begun.stopped


def _interrupt(begun: Begun, look: Callable[[], None], signals: Interruptions) -> Fate:
    """Pause, and end the agents, unless another process still waits for the same dispatch."""
    store, dispatch_id = begun.crew.store, begun.dispatch_id or ""
    _insist(partial(store.run, watchers.remove, dispatch_id, _me()))
    if _is_watched(begun):
        return "another_runs"
    _insist(partial(store.run, _pause, dispatch_id, clock.now()))
    grace = begun.crew.settings.crew.grace_period_seconds
    while _insist(partial(store.run, _end_agents, dispatch_id, 0.0 if signals.times > 1 else grace, clock.now())):
        if signals.times > 2:
            return "open"
        begun.crew.bell.ring()
        look()
        time.sleep(LOOK_SECONDS)
        if _is_watched(begun):  # started again meanwhile; the dispatch is that run's now
            return "another_runs"
    _insist(partial(store.run, _give_back, dispatch_id, clock.now()))
    return "ended"


def _insist(call: Callable[[], T], seconds: float = float("inf")) -> T:
    """Do what must not be left undone, however long another process holds the database; or for so long at most."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except DatabaseBusy as error:
            if time.monotonic() >= deadline:
                raise
            log.warning("%s Waiting for it.", error.message)


def _is_watched(begun: Begun) -> bool:
    others = begun.crew.store.read(watchers.of, begun.dispatch_id or "")
    return any(process.is_alive(process.Identity(*who)) for who in others if who != _me())


def _pause(tx: Transaction, dispatch_id: str, now: str) -> None:
    if dispatches.get(tx, dispatch_id)["status"] == "active":
        dispatches.change(tx, dispatch_id, "paused", now=now, actor=ACTOR, why="interrupted")


def _give_back(tx: Transaction, dispatch_id: str, now: str) -> None:
    """What waited for a restart is the plan's again, so that no other plan waits for this one to be resumed."""
    if dispatches.get(tx, dispatch_id)["status"] == "paused":
        dispatches.give_back(tx, dispatch_id, why="interrupted", now=now, actor=ACTOR)


def _end_agents(tx: Transaction, dispatch_id: str, grace: float, now: str) -> int:
    """Ask for the end of the dispatch's agents; returns how many still live."""
    live = tx.all(
        "SELECT a.agent_id FROM agent_lifecycle a JOIN orchestrator_task o USING (orchestrator_task_id) "
        "WHERE o.dispatch_id = ? AND a.status IN ('starting', 'running')",
        (dispatch_id,),
    )
    for row in live:
        agents.request_kill(
            tx,
            row["agent_id"],
            reason="the run was interrupted",
            outcome="release",
            grace_seconds=grace,
            now=now,
            actor=ACTOR,
        )
    return len(live)


def known_tasks(paths: Paths) -> frozenset[str]:
    """Ids of the tasks that the database holds; none where there is no database yet."""
    if not paths.database.exists():
        return frozenset()
    store = Store(paths.database)
    try:
        return frozenset(row["task_id"] for row in store.read(tasks.listed, limit=1_000_000))
    finally:
        store.close()


def _me() -> tuple[int, str, str]:
    who = process.myself()
    return who.pid, who.start_time, who.boot_id
