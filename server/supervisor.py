"""The supervisor: one thread that needs no model. It observes, decides, acts and records, tick by tick (design 1).

It never sleeps through anything: it waits on the bell that writers and runners ring, and on its agents' runners. Every
tick looks at the database anew, so a tick too many costs time and nothing else, and whoever takes the lease goes on
where the last one was killed. A fault in one step is logged and does not stop the others.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from . import (
    agents,
    assignments,
    clock,
    dispatcher,
    due_times,
    error_events,
    garbage,
    janitor,
    keeper,
    launcher,
    lease,
    merger,
    merges,
    outfit,
    process,
    prover,
    provision,
    recycler,
    runners,
    settler,
    standstill,
    states,
    worktrees,
)
from .crew import ACTOR, Crew
from .error_events import Note
from .errors import CrewyardError, DatabaseBusy, DatabaseCorrupt, LeaseLost
from .foreman import Foreman
from .jobs import Jobs
from .journals import Reader as JournalReader
from .lookout import Lookout
from .radar import Radar
from .rounds import Rounds
from .store import Row, Transaction
from .telemetry import Telemetry

log = logging.getLogger(__name__)

STANDBY_SECONDS = 0.5
ORPHAN_SECONDS = 20.0
JUMP_SECONDS = 2.0
FAULT_SECONDS = 1.0
GARBAGE = "garbage"


@dataclass(frozen=True)
class Charge:
    """What a supervisor keeps to that works for one caller only: the tasks whose work it goes on with, and those of
    them that it may launch an agent for. More may be added while it works."""

    tasks: set[str] = field(default_factory=set)
    launches: set[str] = field(default_factory=set)


class Supervisor:
    """Acts while it holds the lease, stands by while another does. Start and stop may be called twice."""

    def __init__(self, crew: Crew, *, ends_agents: bool = False, charge: Charge | None = None) -> None:
        """``ends_agents``: its agents end with it (the setting ``on_exit``), else they go on under their runners.

        With a ``charge`` it begins nothing else; the ends of agents it takes in and carries out in any case.
        """
        self.crew = crew
        self._ends_agents = ends_agents
        self._charge = charge
        self._me = process.myself()
        self._thread: threading.Thread | None = None
        self._journals = JournalReader()
        self._jobs = Jobs(crew.bell.ring)
        self._lookout = Lookout()
        self._has_fault = False
        self._odd: set[str] = set()
        self._renewed = 0.0
        self._rounds = Rounds(crew, self._guarded, self._job)
        self._radar = Radar()
        self._foreman = Foreman(crew, self._guarded)
        self._look_at_all = True
        self._to_settle = True
        self._clocks = clock.Pair.now()
        self._acting_since = clock.now()
        self._first_try = threading.Event()
        self._telemetry = Telemetry.of(crew)

    def start(self) -> None:
        """Returns when the thread runs and has tried for the lease once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="crewyard-supervisor", daemon=True)
            self._thread.start()
            self._first_try.wait()

    def stop(self) -> None:
        """Returns when nothing of it acts any more. Agents that are to end with it are being ended by their runners."""
        self.crew.stopping.set()
        if self._thread is None:
            return
        self.crew.bell.ring()
        while self._thread.is_alive():
            self.end_checks()
            self._thread.join(0.1)
        self._thread = None

    def _run(self) -> None:
        while not self.crew.stopping.is_set():
            try:
                if self._hold_lease():
                    self._tick()
                self._first_try.set()
                self._wait()
            except LeaseLost:
                log.warning("the lease is lost; standing by")
                self.crew.term = 0
            except DatabaseBusy as error:
                log.warning("%s Trying again.", error.message)
                self._first_try.set()
            except Exception:  # the thread must outlive whatever one tick ran into (style 10)
                log.exception("the supervisor's tick failed")
                self._first_try.set()
                self.crew.stopping.wait(1.0)
        self._first_try.set()  # it was stopped before it could try
        if self._ends_agents and self.crew.term:
            self._end_agents()
        self._jobs.close()
        self.crew.runners.close()
        if self._telemetry is not None:
            self._telemetry.close()
        self._release()

    # ----------------------------------------------------------------------------------------------- lease

    def _hold_lease(self) -> bool:
        crew = self.crew
        if crew.term:
            if time.monotonic() - self._renewed >= lease.RENEW_SECONDS:
                crew.store.run(lease.renew, crew.term, now=clock.now(), uptime=clock.uptime())
                self._renewed = time.monotonic()
            return True
        holder = lease.Holder(f"crewyard-{self._me.pid}", self._me.pid, self._me.start_time, self._me.boot_id)
        row = crew.store.read(lease.current)
        free = not lease.is_held(row, uptime=clock.uptime())
        dead = None
        if row is not None and not free:
            alive = process.is_alive(process.Identity(row["pid"], row["start_time"], row["boot_id"]))
            dead = None if alive else row["term"]
        if not free and dead is None:
            return False
        if row is not None:
            self._wait_for_quiet(f"{row['pid']}:{row['start_time']}")
        crew.term = crew.store.run(lease.acquire, holder, now=clock.now(), uptime=clock.uptime(), dead_term=dead) or 0
        self._renewed = time.monotonic()
        if crew.term:
            crew.bell.listen()
            self._clocks, self._acting_since = clock.Pair.now(), clock.now()
            self._look_at_all = self._to_settle = True
            self._guarded(self._rounds.audit_processes)
        return bool(crew.term)

    def _settle_in(self) -> None:
        """Only while no job of ours is at work: what one has half done is not what a dead one left."""
        if self._to_settle and self._jobs.is_idle():
            self._to_settle = False
            settler.settle(self.crew)

    def _wait_for_quiet(self, last: str) -> None:
        """Let a git that the last holder started come to its end: nothing may be judged by what it left so far.

        Not for ever: a hook of the user's may have started something that stays, and it inherits the mark.
        """
        stopping = self.crew.stopping.is_set
        if not process.wait_for_marked(f"CREWYARD_GIT={last}", ORPHAN_SECONDS, stopping) and not stopping():
            log.warning("something that the last supervisor's git started still runs; going on")

    def _release(self) -> None:
        self._lookout.close()
        if self.crew.term:
            with contextlib.suppress(CrewyardError):
                self.crew.store.run(lease.release, self.crew.term, now=clock.now())
        self.crew.term = 0
        self.crew.bell.close()
        self.crew.repository.close()

    # ------------------------------------------------------------------------------------------------ tick

    def _tick(self) -> None:
        self.crew.bell.drain()
        for step in (self._follow_the_clock, self._settle_in, self._keep_agents):
            self._guarded(step)
        steps = [self._prove, self._merge, self._watch_queue, self._foreman.look, self._launch, self._make_worktrees]
        steps += [self._tidy, self._collect_garbage, self._settle, self._look_for_collisions, self._make_rounds]
        if self._charge is not None:
            steps = [self._prove, self._merge, self._launch, self._make_worktrees, self._tidy]
        for step in steps:
            self._guarded(step)
        if self._telemetry is not None:
            self._guarded(self._telemetry.nudge)

    def _is_charged(self, task_id: str) -> bool:
        return self._charge is None or task_id in self._charge.tasks

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Whether the step went through without a fault."""
        try:
            step()
        except (LeaseLost, DatabaseBusy):
            raise
        except DatabaseCorrupt as error:
            self._has_fault = True
            log.exception("step %s met a damaged database", step.__name__)
            self._tell_of_damage(error)
        except Exception:  # a fault in one step must not stop the others (design 1)
            self._has_fault = True
            log.exception("step %s failed", step.__name__)
        else:
            return True
        return False

    def _tell_of_damage(self, error: DatabaseCorrupt) -> None:
        """As far as the part of the file that mail is kept in can still be written to."""
        damage = Note(error.code, error.message, "open", subject="database")
        with contextlib.suppress(CrewyardError):
            self.crew.write(error_events.note_once, damage, now=clock.now(), actor=ACTOR)

    def _follow_the_clock(self) -> None:
        """A wall clock that was set takes every time that is still to come along with it."""
        clocks = clock.Pair.now()
        jump = clocks.jump_since(self._clocks)
        if abs(jump) >= JUMP_SECONDS:
            log.warning("the clock was set by %+.0f s", jump)
            self.crew.write(due_times.shift, jump, now=clock.now(), actor=ACTOR)
        self._clocks = clocks  # not before: what could not be written is found again

    def _keep_agents(self) -> None:
        """Look at those agents of which there is news; at all of them now and then, in case any was missed."""
        all_of_them, self._look_at_all = self._look_at_all, False
        gone = self._lookout.gone()
        for seen in self.crew.store.read(agents.live):
            agent_id = seen["agent_id"]
            if not (all_of_them or agent_id in gone | self._odd or keeper.has_news(self._journals, seen)):
                continue
            if self._jobs.is_busy(f"task {seen['task_id']}"):
                continue
            # Read again: the launch may have ended, and named its runner, between the first look and the question.
            row = self.crew.store.read(agents.get, agent_id)
            if row["status"] not in states.LIVE_AGENT:
                continue
            self._take_in(row)
            if row["kill_requested_at"] is not None:
                self._guarded(partial_named(keeper.end_requested, row))

    def _take_in(self, row: Row) -> None:
        """What one agent printed or left may be more than we can read: the next look takes its bare end in."""
        take_in = keeper.take_in_plainly if row["agent_id"] in self._odd else keeper.take_in
        if self._guarded(partial_named(take_in, self.crew, self._journals, row)):
            self._odd.discard(row["agent_id"])
        else:
            self._odd.add(row["agent_id"])

    def _prove(self) -> None:
        for row in self.crew.store.read(assignments.unproven):
            if self._is_charged(row["task_id"]):
                self._job(f"task {row['task_id']}", prover.prove, row["orchestrator_task_id"])

    def _merge(self) -> None:
        """Whoever waits for one merge waits for those that come before it in the queue as well."""
        due = [row for row in self.crew.store.read(self._due_merges) if self._is_charged(row["task_id"])]
        for target in sorted({row["target_branch"] for row in due}):
            self._job(f"merge {target}", merger.work_off, target)

    def _due_merges(self, tx: Transaction) -> list[Row]:
        return merges.due(tx, auto_approve=self.crew.settings.merge.auto_approve, now=clock.now())

    def _watch_queue(self) -> None:
        """Merges that wait too long hold launches (R-137)."""
        merge, now = self.crew.settings.merge, clock.now()
        found = self.crew.store.read(
            standstill.find,
            merge.waiting_alert_seconds,
            auto_approve=merge.auto_approve,
            merging_since=self._acting_since,
            now=now,
        )
        if (found is not None) != self.crew.store.read(standstill.is_held):
            self.crew.write(standstill.settle, found, now=now, actor=ACTOR)

    def _tidy(self) -> None:
        """Nobody waits for a clean-up, which must not slow a launch or a merge down; unless a launch to come can use
        the worktree again. One at a time: the first stays the first while it is at work.
        """
        if self._jobs.is_idle() or recycler.takes_another(self.crew):
            settled = self.crew.store.read(worktrees.settled, asked_only=self._charge is not None)
            for worktree in [each for each in settled if self._is_charged(each.task_id)][:1]:
                self._job(f"task {worktree.task_id}", janitor.tidy, worktree)
            if self._charge is None and self._jobs.is_idle() and recycler.is_called_for(self.crew):
                self._job("pool", recycler.tend)

    def _make_worktrees(self) -> None:
        for worktree in self.crew.store.read(worktrees.listed, status="creating"):
            if self._is_charged(worktree.task_id):
                self._job(f"task {worktree.task_id}", provision.make_worktree, worktree.task_id)

    def _launch(self) -> None:
        if not self.crew.store.read(dispatcher.has_work, clock.now(), self._is_busy_with):
            return
        only = None if self._charge is None else self._charge.launches
        for row in dispatcher.to_launch(self.crew, self._is_busy_with, only):
            subject, assignment_id = f"task {row['task_id']}", row["orchestrator_task_id"]
            if not self._jobs.is_busy(subject) and launcher.is_quick(self.crew, row):
                self._guarded(partial_named(launcher.launch, self.crew, assignment_id))
            else:
                self._job(subject, launcher.launch, assignment_id)

    def _is_busy_with(self, assignment: Row) -> bool:
        return self._jobs.is_busy(f"task {assignment['task_id']}")

    def _collect_garbage(self) -> None:
        if self._has_garbage() and self._jobs.is_idle():
            self._job(GARBAGE, janitor.collect_garbage)

    def _has_garbage(self) -> bool:
        return self.crew.settings.worktree.gc and self.crew.store.read(garbage.is_due)

    def _settle(self) -> None:
        """A run is over when the repository is tidy: nothing of it would collect garbage afterwards."""
        if not self._jobs.is_busy(GARBAGE) and not self._has_garbage():
            dispatcher.end_finished(self.crew)

    def _make_rounds(self) -> None:
        if self._rounds.seconds_left <= 0:
            self._look_at_all = self._to_settle = True
            self._rounds.make()

    def _look_for_collisions(self) -> None:
        if not self._jobs.is_busy("radar") and self._radar.is_due(self.crew):
            self._job("radar", self._radar.look)

    def _job(self, subject: str, act: Callable[..., None], *arguments: object) -> None:
        # A copy keeps the term that the job began under: it writes nothing once another term has begun.
        self._jobs.start(subject, partial(act, replace(self.crew), *arguments))

    # ------------------------------------------------------------------------------------------------ wait

    def _wait(self) -> None:
        """Until the bell rings, a runner ends, or something is due."""
        if not self.crew.term:
            self.crew.stopping.wait(STANDBY_SECONDS)
            return
        if self._has_fault:  # whatever it is, it is not mended by trying as fast as one can
            self._has_fault = False
            self.crew.stopping.wait(FAULT_SECONDS)
        check = self._rounds.seconds_left
        waits = [self._jobs.seconds_to_retry(), self._radar.seconds_to_rest()]
        self._lookout.wait(self.crew, min(lease.RENEW_SECONDS, check, *(each for each in waits if each is not None)))

    def _end_agents(self) -> None:
        for row in self.crew.store.read(agents.live):
            with contextlib.suppress(CrewyardError):
                asked = self.crew.write(
                    agents.request_kill,
                    row["agent_id"],
                    reason="the server that supervised it ended (on_exit = stop)",
                    outcome="release",
                    grace_seconds=self.crew.settings.crew.grace_period_seconds,
                    now=clock.now(),
                    actor=ACTOR,
                )
                keeper.end_requested(asked)

    def end_checks(self) -> None:
        """End the checks at work, so that stopping does not wait for them; they are run again later."""
        outfit.end_setups(self.crew)
        for row in self.crew.store.read(merges.checking):
            for log_file in self.crew.paths.merge_logs(row["merge_id"]):
                runners.end_check(log_file)
        if self._jobs.is_busy(GARBAGE):
            runners.end_check(self.crew.paths.garbage_log)
        for row in self.crew.store.read(assignments.unproven):
            agent = self.crew.store.read(agents.get, row["assigned_agent"])
            runners.end_check(Path(agent["run_dir"]) / prover.CHECK_LOG)


def partial_named(call: Callable[..., None], *arguments: object) -> Callable[[], None]:
    """``partial`` with the name that a log line needs."""
    bound: Callable[[], None] = partial(call, *arguments)
    bound.__name__ = call.__name__
    return bound
