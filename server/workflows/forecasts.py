"""Forecasts: what they are made from, when stages were said to end, and when they did (R-222)."""

from dataclasses import dataclass

from .. import clock
from ..store import Row, Transaction
from . import forecasting, workers
from .forecasting import FEWEST_SAMPLES, HOUR_SECONDS, Hours, Newcomer, Outlook, Stage, Took, Work, percentile
from .pipeline import Pipeline

LATEST = 200  # items of a workflow that durations are taken from
HOURS, KNOWN_DAYS, MOST_ARRIVALS = 24, 7, 5_000  # of arrivals
REPEAT_SECONDS = 900.0  # the same is not noted again sooner
REMEMBERED_DAYS = 30
REASONS = {"held": "it is stopped", "review": "it waits for a judgement"}
# Items whose durations are measured: those that somebody had stopped tell how long that was.
_MEASURED = (
    "d.status = 'done' AND d.ended_at > d.started_at AND NOT EXISTS "
    "(SELECT 1 FROM work_spell s WHERE s.item_id = d.item_id AND s.outcome = 'held')"
)
# What a review returned to an earlier stage left its queue and came back as another item: ``first`` is where it began.
_TOOK = (
    "WITH done AS (SELECT d.item_id, d.project_id, d.workflow, d.ended_at, p.complexity, "
    "(SELECT coalesce(max(b.item_id), 0) FROM queue_item b WHERE b.project_id = d.project_id "
    "AND b.workflow = d.workflow AND b.status = 'done' AND b.item_id < d.item_id) AS before "
    f"FROM queue_item d JOIN project p USING (project_id) WHERE d.workflow = ? AND {_MEASURED} "
    "ORDER BY d.ended_at DESC LIMIT ?) "
    "SELECT done.complexity, (julianday(done.ended_at) - julianday(min(s.began_at))) * 86400 AS seconds, "
    "sum(julianday(s.ended_at) - julianday(s.began_at)) * 86400 AS at_work FROM done JOIN queue_item i "
    "ON i.project_id = done.project_id AND i.workflow = done.workflow AND i.item_id > done.before "
    "AND i.item_id <= done.item_id JOIN work_spell s ON s.item_id = i.item_id AND s.ended_at IS NOT NULL "
    "GROUP BY done.item_id ORDER BY done.ended_at DESC"
)
_OPEN = (
    "SELECT p.project_id, p.status AS project_status, p.complexity, i.workflow, i.status, i.priority, i.started_at, "
    "coalesce(i.stepped_back_at, i.queued_at) AS queued_at FROM project p "
    "LEFT JOIN queue_item i ON i.project_id = p.project_id AND i.status IN ('waiting', 'working', 'held', 'review') "
    "WHERE p.status IN ('active', 'held', 'review') ORDER BY p.rowid, i.item_id"
)


@dataclass(frozen=True)
class Situation:
    """What there is to be done, with whom, and how long such things took.

    ``left_out`` says of which projects nothing can be told, and why.
    """

    now: str
    stages: tuple[Stage, ...]
    work: tuple[Work, ...]
    hours: Hours
    left_out: dict[str, str]

    def outlook(self, seed: int = 0) -> Outlook:
        return forecasting.forecast(self.stages, self.work, self.hours, seed=seed)

    @property
    def unknown(self) -> dict[str, int]:
        """The workflows with too few finished items, and how many there are."""
        return {stage.name: stage.samples for stage in self.stages if not stage.is_known}


@dataclass(frozen=True)
class Accuracy:
    """Of ``compared`` forecasts: percent that came true by p50 and by p90, and the median error of p50 in seconds.

    None where nothing can be compared yet.
    """

    compared: int
    by_p50: float | None = None
    by_p90: float | None = None
    median_error: float | None = None


def situation(tx: Transaction, line: Pipeline, *, now: str) -> Situation:
    found, left_out = [], {}
    for row in tx.all(_OPEN):
        if row["workflow"] is not None and row["status"] in ("waiting", "working") and row["project_status"] != "held":
            found.append(_work(row, now))
        elif row["project_status"] == "active":
            left_out[row["project_id"]] = "it waits for its deployment"
        if row["project_status"] in REASONS:
            left_out[row["project_id"]] = REASONS[row["project_status"]]
    stages = tuple(_stage(tx, line, name, now) for name in line.names)
    return Situation(now, stages, tuple(found), _newcomers(tx, now), left_out)


def record(tx: Transaction, seen: Situation, outlook: Outlook, *, now: str) -> int:
    """Note when each project's stages are said to end, so that they can be compared; returns how many were new."""
    since = clock.plus(now, -REPEAT_SECONDS)
    noted = {
        (row["project_id"], row["workflow"])
        for row in tx.all("SELECT project_id, workflow FROM forecast WHERE actual_at IS NULL AND made_at > ?", (since,))
    }
    samples = {stage.name: stage.samples for stage in seen.stages}
    rows = [
        (*key, clock.plus(seen.now, each.p50), clock.plus(seen.now, each.p90), samples[key[1]], seen.now)
        for key, each in outlook.stages.items()
        if key not in noted
    ]
    tx.many(
        "INSERT INTO forecast (project_id, workflow, p50_at, p90_at, samples, made_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6 "
        "WHERE NOT EXISTS (SELECT 1 FROM queue_item WHERE project_id = ?1 AND workflow = ?2 AND status = 'done' "
        "AND ended_at >= ?6)",
        rows,
    )
    return len(rows)


def is_due(tx: Transaction) -> bool:
    """Whether something waits of which nothing was said yet, although enough is known."""
    return bool(
        tx.value(
            "SELECT 1 FROM queue_item i WHERE i.status = 'waiting' AND NOT EXISTS (SELECT 1 FROM forecast f "
            "WHERE f.project_id = i.project_id AND f.workflow = i.workflow AND f.actual_at IS NULL) AND "
            f"(SELECT count(*) FROM (SELECT 1 FROM queue_item d WHERE d.workflow = i.workflow AND {_MEASURED} "
            "LIMIT ?)) >= ? LIMIT 1",
            (FEWEST_SAMPLES, FEWEST_SAMPLES),
        )
    )


def came_true(tx: Transaction, project_id: str, workflow: str, *, now: str) -> None:
    """The project has finished that stage: what was said of it can be compared from now on."""
    tx.run(
        "UPDATE forecast SET actual_at = ? WHERE project_id = ? AND workflow = ? AND actual_at IS NULL",
        (now, project_id, workflow),
    )


def accuracy(tx: Transaction, *, now: str, workflow: str | None = None) -> Accuracy:
    """How the forecasts of the last month came out."""
    rows = tx.all(
        "SELECT p50_at, p90_at, actual_at FROM forecast WHERE actual_at > ? AND (? IS NULL OR workflow = ?)",
        (clock.plus(now, -86400.0 * REMEMBERED_DAYS), workflow, workflow),
    )
    if not rows:
        return Accuracy(0)
    errors = sorted(abs(clock.seconds_between(row["p50_at"], row["actual_at"])) for row in rows)
    return Accuracy(
        len(rows),
        100 * sum(row["actual_at"] <= row["p50_at"] for row in rows) / len(rows),
        100 * sum(row["actual_at"] <= row["p90_at"] for row in rows) / len(rows),
        percentile(errors, 50),
    )


def _work(row: Row, now: str) -> Work:
    is_at_work = row["status"] == "working"
    since = clock.seconds_between(row["started_at"] if is_at_work else row["queued_at"], now)
    return Work(row["project_id"], row["workflow"], row["priority"], since, row["complexity"], is_at_work)


def _stage(tx: Transaction, line: Pipeline, name: str, now: str) -> Stage:
    settings, configured = line.settings, line.stage(name)
    there = [row for row in workers.present(tx, name) if row["status"] != "offline"]
    return Stage(
        name, len(there), _took(tx, name), most=configured.max_workers, deep=settings.scale_up_depth,
        long=60 * settings.scale_up_wait_minutes, rest=settings.cool_down_seconds,
        leave=[max(0.0, clock.seconds_between(now, row["until"])) for row in there if row["until"]],
    )  # fmt: skip


def _took(tx: Transaction, workflow: str) -> dict[str, list[Took]]:
    """What the latest took from their first beginning there, with all that they went through on the way: restarts,
    other workers, review, an earlier stage once more."""
    rows = tx.all(_TOOK, (workflow, LATEST))
    found: dict[str, list[Took]] = {"": []}
    for row in rows:
        took = Took(row["seconds"], max(0.0, min(1.0, row["at_work"] / row["seconds"])))
        found[""].append(took)
        found.setdefault(row["complexity"], []).append(took)
    return found


def _newcomers(tx: Transaction, now: str) -> list[list[list[Newcomer]]]:
    """For each hour to come, that hour of the last days (G-07); before there are any, all hours since the first."""
    rows = tx.all(
        "SELECT priority, complexity, created_at FROM project WHERE created_at > ? ORDER BY rowid DESC LIMIT ?",
        (clock.plus(now, -HOURS * KNOWN_DAYS * HOUR_SECONDS), MOST_ARRIVALS),
    )
    past: dict[int, list[Newcomer]] = {}
    for row in rows:
        number, at = divmod(-clock.seconds_between(row["created_at"], now), HOUR_SECONDS)
        past.setdefault(int(number), []).append(Newcomer(at, row["priority"], row["complexity"]))
    first = min(past, default=0)
    return [
        [past.get(each, []) for each in range(to_come - HOURS, first - 1, -HOURS)]
        or [past.get(each, []) for each in range(first, 0)]
        for to_come in range(HOURS)
    ]
