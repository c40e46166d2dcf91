"""Looks on while a day passes by, and fails at the first moment at which something is not as it has to be."""

from collections import Counter
from dataclasses import dataclass

from crewyard.server import clock
from crewyard.server.store import Row, Store, Transaction
from crewyard.server.workflows.pipeline import Pipeline

# What a level of priority is worth: whoever waits that much longer goes first.
LEVEL_SECONDS = 6 * 3600.0
OPEN = ("waiting", "working", "held", "review")


@dataclass(frozen=True)
class Seen:
    """All that matters of one moment."""

    items: dict[int, Row]
    workers: list[Row]
    spells: dict[int, str]
    active: set[str]
    alerts: set[tuple[str, str]]

    def waiting(self, workflow: str) -> list[Row]:
        return [row for row in self.items.values() if row["workflow"] == workflow and row["status"] == "waiting"]


def see(tx: Transaction) -> Seen:
    rows = tx.all("SELECT * FROM queue_item WHERE status NOT IN ('done', 'rejected')")
    spells = tx.all("SELECT item_id, worker_id FROM work_spell WHERE ended_at IS NULL")
    return Seen(
        {row["item_id"]: row for row in rows},
        tx.all("SELECT * FROM worker WHERE status <> 'retired'"),
        {row["item_id"]: row["worker_id"] for row in spells},
        {row["project_id"] for row in tx.all("SELECT project_id FROM project WHERE status = 'active'")},
        {(row["kind"], row["subject"]) for row in tx.all("SELECT * FROM workflow_alert WHERE ended_at IS NULL")},
    )


class Judge:
    """Of one day. ``longest_wait`` is in seconds; ``sizes`` each change of how many workers a stage has."""

    def __init__(self, store: Store, line: Pipeline) -> None:
        self._store = store
        self._line = line
        self._before: Seen | None = None
        self._last: Seen | None = None
        self.ending: set[str] = set()
        self.longest_wait: Counter[str] = Counter()
        self.deepest: Counter[str] = Counter()
        self.sizes: dict[str, list[tuple[str, int]]] = {name: [] for name in line.names}

    @property
    def is_anything_open(self) -> bool:
        return self._last is None or bool(self._last.items)

    def still_open(self) -> str:
        rows = [] if self._last is None else self._last.items.values()
        return "; ".join(f"{row['project_id']} {row['status']} in {row['workflow']}" for row in list(rows)[:10])

    def before(self, *, is_news: bool) -> None:
        """A look of the foreman's is to come; ``is_news``: something has changed since the last."""
        if is_news or self._last is None:
            self._last = self._store.read(see)
        self._before = self._last

    def after(self, now: str) -> None:
        """It has changed something."""
        assert self._before is not None
        seen = self._store.read(see)
        self._everybody_has_what_they_work_on(seen)
        self._the_first_went_first(self._before, seen, now)
        self._ranges_are_kept(seen, now)
        self._last = seen

    def at_rest(self, now: str) -> None:
        """There is nothing more for it to do now."""
        assert self._last is not None
        seen = self._last
        lost = seen.active - {row["project_id"] for row in seen.items.values()}
        assert not lost, f"{now}: {lost} are in no queue"
        for name in self._line.names:
            waiting = [row for row in seen.waiting(name) if row["wanted_worker"] is None]
            idle = [row["worker_id"] for row in seen.workers if row["workflow"] == name and row["status"] == "idle"]
            assert not (waiting and idle), f"{now}: {idle} idle while {len(waiting)} wait in {name}"
            self.deepest[name] = max(self.deepest[name], len(waiting))
            there = [row for row in seen.workers if row["workflow"] == name]
            present = len(there)
            assert present >= self._line.stage(name).min_workers, f"{now}: {present} workers in {name}"
            due = clock.plus(now, -2 * self._line.settings.watch_seconds)
            late = [row["worker_id"] for row in there if row["status"] == "idle" and (row["until"] or now) < due]
            assert not late, f"{now}: {late} should have gone"
            is_told = ("overflow", name) in seen.alerts
            assert is_told or len(seen.waiting(name)) <= self._line.settings.overflow_depth, f"{now}: {name} overflows"
            if not self.sizes[name] or self.sizes[name][-1][1] != present:
                self.sizes[name].append((now, present))

    def _everybody_has_what_they_work_on(self, seen: Seen) -> None:
        """No item is with two, and nobody is busy with nothing."""
        at_work = {row["item_id"]: row["worker_id"] for row in seen.items.values() if row["status"] == "working"}
        assert at_work == seen.spells
        busy = {row["worker_id"] for row in seen.workers if row["status"] == "busy"}
        offline = {row["worker_id"] for row in seen.workers if row["status"] == "offline"}
        assert busy <= set(at_work.values()) <= busy | offline

    def _the_first_went_first(self, before: Seen, seen: Seen, now: str) -> None:
        """What was given waited before everything that goes on waiting: by level, where a level is worth six hours."""
        given: dict[str, list[Row]] = {name: [] for name in self._line.names}
        for row in seen.items.values():
            earlier = before.items.get(row["item_id"])
            if row["status"] == "working" and earlier is not None and earlier["status"] == "waiting":
                self.longest_wait[row["workflow"]] = max(
                    self.longest_wait[row["workflow"]], round(clock.seconds_between(row["queued_at"], now))
                )
                if earlier["wanted_worker"] is None and earlier["priority"] == row["priority"]:
                    given[row["workflow"]].append(row)
        for name, rows in given.items():
            left = [row for row in seen.waiting(name) if row["wanted_worker"] is None]
            left = [row for row in left if row["item_id"] in before.items]
            if rows and left:
                last, first = max(map(_turn, rows)), min(map(_turn, left))
                assert last <= first, f"{now}: {first} of {name} was passed over for {last}"

    def _ranges_are_kept(self, seen: Seen, now: str) -> None:
        for name in self._line.names:
            stage = self._line.stage(name)
            there = [row for row in seen.workers if row["workflow"] == name]
            lasting = [row for row in there if row["origin"] != "emergency"]
            assert len(lasting) <= stage.max_workers, f"{now}: {len(lasting)} workers in {name}"
            assert len(there) <= stage.most_in_emergency, f"{now}: {len(there)} workers in {name}"


def _turn(row: Row) -> tuple[float, int]:
    queued = clock.parse(row["stepped_back_at"] or row["queued_at"]).timestamp()
    return queued + LEVEL_SECONDS * row["priority"], row["item_id"]
