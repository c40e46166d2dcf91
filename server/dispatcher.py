"""Works the dispatches off: which tasks get an agent now, and when a dispatch is over (design 4)."""

from collections.abc import Callable, Collection

from . import agents, assignments, clock, dispatches, failed_starts, gates, holds, launches, pool
from .crew import ACTOR, Crew
from .dispatches import Limits
from .store import Row, Transaction

CPU_HOLD_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 2.0
MEMORY_PATIENCE_SECONDS = 600.0
ALL = 10_000


def to_launch(
    crew: Crew, is_under_way: Callable[[Row], bool] = lambda _row: False, only: Collection[str] | None = None
) -> list[Row]:
    """Assignments that an agent is to be started for now: those that wait, then newly claimed ready tasks.

    Of what waits, ``is_under_way`` tells those whose agent is about to be started already: they take their place.
    With ``only``, of what waits these tasks alone, and none is claimed.
    """
    if only is not None and not only:
        return []
    return crew.write(_choose, crew, crew.machine.load(), clock.now(), is_under_way, only)


def end_finished(crew: Crew) -> None:
    """Close each dispatch of which nothing can go on and whose worktrees are dealt with."""
    for dispatch in crew.store.read(dispatches.listed, status="active"):
        if crew.store.read(_is_finished, crew, dispatch["dispatch_id"]):
            crew.write(dispatches.change, dispatch["dispatch_id"], "completed", now=clock.now(), actor=ACTOR)


def has_work(tx: Transaction, now: str, is_under_way: Callable[[Row], bool]) -> bool:
    """Whether looking for launches is worth a write: something waits for an agent, or is ready in a dispatch.

    What ``is_under_way`` is about to have one.
    """
    return bool(
        any(not is_under_way(row) for row in assignments.waiting(tx, now=now))
        or tx.value(
            "SELECT 1 FROM specs_task t JOIN dispatch_task USING (task_id) JOIN dispatch d USING (dispatch_id) "
            "WHERE t.status = 'ready' AND d.status = 'active' LIMIT 1"
        )
    )


def _choose(
    tx: Transaction,
    crew: Crew,
    load: gates.Load,
    now: str,
    is_under_way: Callable[[Row], bool],
    only: Collection[str] | None = None,
) -> list[Row]:
    """What passes the gates, in this order: what waits for a restart, new tasks, restarts of a type on trial."""
    limits = crew.settings.launch
    holds.end_passed_trials(tx, limits.failed_start_seconds, now=now, actor=ACTOR)
    for hold in failed_starts.given_up(tx, crew.starts) if only is None else ():
        _give_up(tx, crew, hold, now)
    due = [row for row in assignments.waiting(tx, now=now) if only is None or row["task_id"] in only]
    under_way = [row for row in due if is_under_way(row)]
    waiting = [row for row in due if row not in under_way]
    round_ = _Round(tx, crew, now, _open_gates(tx, crew, load, now), under_way)
    on_trial = [row for row in waiting if holds.trial_of(tx, row["agent_type"], now) is not None]
    round_.take([row for row in waiting if row not in on_trial])
    if only is None:
        round_.claim()
    round_.take(on_trial)
    return round_.chosen


class _Round:
    """One look at what could start; each choice narrows the next."""

    def __init__(self, tx: Transaction, crew: Crew, now: str, most: int, under_way: list[Row]) -> None:
        self.tx, self.crew, self.now, self.most = tx, crew, now, most
        self.under_way = under_way
        self.chosen: list[Row] = []
        self.at_work = assignments.at_work(tx) + under_way

    def take(self, waiting: list[Row]) -> None:
        """Choose of the assignments that wait, in their order."""
        for row in waiting:
            has_slot = row["dispatch_id"] is None or _free_slots(self.tx, row["dispatch_id"], self.at_work) > 0
            if has_slot and self._left().get(row["agent_type"], 1) > 0 and len(self.chosen) < self.most:
                self._choose([row])

    def claim(self) -> None:
        """Choose of the ready tasks of each dispatch."""
        for dispatch in dispatches.listed(self.tx, status="active"):
            slots = _free_slots(self.tx, dispatch["dispatch_id"], self.at_work)
            limits = Limits(
                slots=min(slots, self.most - len(self.chosen)),
                instances_left=self._left(),
                default_agent=self.crew.settings.default_agent,
            )
            self._choose(dispatches.claim(self.tx, dispatch["dispatch_id"], limits, now=self.now, actor=ACTOR))

    def _choose(self, rows: list[Row]) -> None:
        self.chosen += rows
        self.at_work += rows

    def _left(self) -> dict[str, int]:
        """How many more agents of each bounded type may start; a type that is not in it has no bound."""
        settings, tx = self.crew.settings, self.tx
        busy = [row["agent_type"] for row in self.at_work]
        chosen = [row["agent_type"] for row in self.chosen + self.under_way]
        left = {}
        for name in {*settings.agents, *settings.built_in}:
            bounds = []
            if name in settings.instance_limits:
                bounds.append(settings.instance_limits[name] - busy.count(name))
            if holds.of_type(tx, name, self.now) is not None:
                bounds.append(0)
            elif (trial := holds.trial_of(tx, name, self.now)) is not None:
                bounds.append(1 - _alive_since(tx, name, trial["until"]) - chosen.count(name))
            if bounds:
                left[name] = min(bounds)
        return left


def _open_gates(tx: Transaction, crew: Crew, load: gates.Load, now: str) -> int:
    """How many launches the machine lets through now; what it refuses stands as a hold, with the reason."""
    limits = crew.settings.launch
    at_work = len(agents.live(tx))
    launched = launches.in_last_minute(tx, now)
    refusal = next(iter(gates.all_shut(load, limits, agents_at_work=at_work, launched_in_last_minute=launched)), None)
    over = [reason for reason in holds.MACHINE if refusal is None or reason != refusal.reason]
    holds.lift(tx, holds.EVERYONE, *over, now=now, actor=ACTOR)
    if refusal is None:
        if any(holds.get(tx, holds.EVERYONE, reason) is not None for reason in ("stopped", "merges_wait")):
            return 0
        is_busy = gates.of_machine(load, limits, agents_at_work=1) is not None
        return 1 if is_busy else limits.max_per_minute - launched
    present = holds.get(tx, holds.EVERYONE, refusal.reason)
    if refusal.reason == "cpu" and present is not None and present["until"] > now:
        return 0
    seconds = CPU_HOLD_SECONDS if refusal.reason == "cpu" else LOOK_AGAIN_SECONDS
    until = clock.plus(now, seconds)
    holds.hold(tx, holds.EVERYONE, refusal.reason, refusal.message, until=until, now=now, actor=ACTOR)
    # A busy machine slows launches down and never stops them: somebody else may keep it busy for ever.
    if refusal.reason == "cpu":
        return 1 if present is not None else 0
    waited = clock.seconds_between(present["since"], now) if present is not None else 0.0
    return 1 if refusal.reason == "memory" and not at_work and waited > MEMORY_PATIENCE_SECONDS else 0


def _give_up(tx: Transaction, crew: Crew, hold: Row, now: str) -> None:
    """Every trial of the type failed: what waits for it goes to review, so that nothing waits for ever."""
    name = hold["scope"]
    others = dict.fromkeys({*crew.settings.agents, *crew.settings.built_in} - {name}, 0)
    found = [row for row in assignments.waiting(tx, now="9") if row["agent_type"] == name]
    for dispatch in dispatches.listed(tx, status="active"):
        limits = Limits(slots=ALL, instances_left=others, default_agent=crew.settings.default_agent)
        found += dispatches.claim(tx, dispatch["dispatch_id"], limits, now=now, actor=ACTOR)
    for row in found:
        assignments.give_up(
            tx,
            row["orchestrator_task_id"],
            code="spawn_failed",
            message=f"Not tried any more, {hold['message']}",
            review=True,
            now=now,
            actor=ACTOR,
        )
    holds.lift(tx, name, failed_starts.REASON, now=now, actor=ACTOR)


def _alive_since(tx: Transaction, agent_type: str, moment: str) -> int:
    """Live agents of the type that were launched since then."""
    return sum(row["agent_type"] == agent_type and row["created_at"] >= moment for row in agents.live(tx))


def _free_slots(tx: Transaction, dispatch_id: str, at_work: list[Row]) -> int:
    used = [row["dispatch_id"] for row in at_work].count(dispatch_id)
    slots: int = dispatches.get(tx, dispatch_id)["max_parallel"]
    return slots - used


def _is_finished(tx: Transaction, crew: Crew, dispatch_id: str) -> bool:
    size, keep = crew.settings.pool_size, crew.settings.worktree.keep_pool
    if not dispatches.is_over(tx, dispatch_id) or not dispatches.is_tidy(tx, dispatch_id):
        return False
    return pool.is_done_with(tx, size=size, keep=keep)
