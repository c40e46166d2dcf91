"""When projects will have gone through their stages: a simulation of what is left to do, pure and repeatable (R-222).

What waits, is worked on and is still to come of each project goes through the queues many times over, each time with
durations drawn from those measured. How the results spread gives the range (G-08).
"""

import heapq
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

FEWEST_SAMPLES = 5
MOST_RUNS, LEAST_RUNS = 200, 40
ENOUGH_STEPS = 150_000  # some 0.4 s; after so many no further course is begun
AGEING_SECONDS = 6 * 3600.0  # of waiting count as a level of priority, as in the queues
DRAWS = 20
HOUR_SECONDS = 3600.0


@dataclass(frozen=True, order=True)
class Took:
    """A finished item: seconds from its first beginning to its end, and the share of them in which a worker had it."""

    seconds: float
    share: float = 1.0


@dataclass(frozen=True)
class Stage:
    """A workflow with what was measured there, by complexity; under "" all of it.

    ``workers`` are those who are there now, of whom some leave after so many seconds (``leave``). It grows up to
    ``most`` while more than ``deep`` items wait, or those that wait do so for longer than ``long`` seconds on the
    average; after each worker it rests for ``rest`` seconds.
    """

    name: str
    workers: int
    took: Mapping[str, Sequence[Took]]
    most: int = 0
    deep: float = math.inf
    long: float = math.inf
    rest: float = 0.0
    leave: Sequence[float] = ()

    @property
    def samples(self) -> int:
        return len(self.took.get("", ()))

    @property
    def is_known(self) -> bool:
        return self.samples >= FEWEST_SAMPLES

    def like(self, complexity: str) -> Sequence[Took]:
        """What such items took; all of them where there were too few of the kind."""
        alike = self.took.get(complexity, ())
        return alike if len(alike) >= FEWEST_SAMPLES else self.took[""]


@dataclass(frozen=True)
class Work:
    """An item that waits, since ``since`` seconds, or that a worker has for so long (``is_at_work``)."""

    project_id: str
    stage: str
    priority: int
    since: float
    complexity: str = "standard"
    is_at_work: bool = False


class Newcomer(NamedTuple):
    """Who may come in between, ``at`` seconds of an hour."""

    at: float
    priority: int
    complexity: str


Hour = Sequence[Newcomer]
# For each hour to come the hours that it may be like; each course takes one of them.
Hours = Sequence[Sequence[Hour]]


@dataclass(frozen=True)
class Range:
    """Seconds from now until half, and nine of ten, of the simulated courses had come to the end."""

    p50: float
    p90: float


@dataclass(frozen=True)
class Outlook:
    """``stages`` by project and workflow, ``projects`` by project: the end of all that is known to come of it."""

    stages: Mapping[tuple[str, str], Range]
    projects: Mapping[str, Range]
    runs: int


def forecast(stages: Sequence[Stage], work: Sequence[Work], hours: Hours = (), *, seed: int = 0) -> Outlook:
    """Of a stage with too few samples, or without workers, nothing is said, nor of what comes after it."""
    known = {stage.name for stage in stages if _says_something(stage)}
    open_work = [each for each in work if each.stage in known]
    steps = runs = 0
    ends: dict[tuple[str, str], list[float]] = {}
    last: dict[str, list[float]] = {}
    source = random.Random(seed)  # noqa: S311 - nothing here is a secret, and the same facts give the same answer
    while open_work and runs < MOST_RUNS and (runs < LEAST_RUNS or steps < ENOUGH_STEPS):
        course = _Course(stages, source)
        steps += course.run(open_work, hours)
        runs += 1
        of_project: dict[str, float] = {}
        for key, at in course.ends.items():
            ends.setdefault(key, []).append(at)
            of_project[key[0]] = max(at, of_project.get(key[0], 0.0))
        for project_id, at in of_project.items():
            last.setdefault(project_id, []).append(at)
    return Outlook(
        {key: _range(found) for key, found in ends.items()},
        {project_id: _range(found) for project_id, found in last.items()},
        runs,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of ``values`` that so many percent of them do not exceed. ``values`` are sorted, and not empty."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _range(found: list[float]) -> Range:
    found.sort()
    return Range(percentile(found, 50), percentile(found, 90))


def _says_something(stage: Stage) -> bool:
    return stage.is_known and max(stage.workers, stage.most) > 0


class _Durations:
    """Draws how long items take, for one course.

    A few samples do not tell how long things take, so each course believes in another selection of them; and the next
    item is as likely to fall between any two of them as beyond the longest.
    """

    def __init__(self, stage: Stage, source: random.Random) -> None:
        self._stage, self._source = stage, source
        self._believed: dict[int, list[Took]] = {}

    def draw(self, complexity: str) -> Took:
        like = self._stage.like(complexity)
        believed = self._believed.get(id(like))
        if believed is None:
            believed = self._believed[id(like)] = sorted(self._source.choices(like, k=len(like)))
        count = len(believed)
        part, whole = math.modf(self._source.random() * (count + 1))
        place = int(whole)
        longest = believed[-1].seconds
        low = believed[place - 1].seconds if place else believed[0].seconds / 2
        high = believed[place].seconds if place < count else 2 * longest - believed[count // 2].seconds
        return Took(low + part * (high - low), believed[min(place, count - 1)].share)

    def left(self, complexity: str, elapsed: float) -> float:
        """How much longer something takes that has taken so long already."""
        for _ in range(DRAWS):
            if (drawn := self.draw(complexity).seconds) > elapsed:
                return drawn - elapsed
        return self.draw(complexity).seconds  # longer than anything measured: as if it had begun anew


class _Job(NamedTuple):
    project_id: str
    priority: int
    complexity: str


@dataclass
class _Line:
    """A stage in the middle of a course."""

    stage: Stage
    durations: _Durations
    workers: int
    busy: int = 0
    queue: list[tuple[float, int, float, _Job]] = field(default_factory=list)
    arrived: float = 0.0  # the sum of when those came that wait
    rests_until: float = 0.0

    def is_short(self, now: float) -> bool:
        if self.workers >= self.stage.most or now < self.rests_until or not self.queue:
            return False
        waited = now - self.arrived / len(self.queue)
        return len(self.queue) > self.stage.deep or waited > self.stage.long or self.workers == 0


class _Course:
    """One way in which it may go."""

    def __init__(self, stages: Sequence[Stage], source: random.Random) -> None:
        self.ends: dict[tuple[str, str], float] = {}
        self._first = stages[0].name
        self._after = {one.name: other.name for one, other in itertools.pairwise(stages)}
        self._lines = {
            stage.name: _Line(stage, _Durations(stage, source), stage.workers)
            for stage in stages
            if _says_something(stage)
        }
        self._source = source
        self._due: list[tuple[float, int, str, str, _Job | None]] = []
        self._order = itertools.count()
        self._entered: set[tuple[str, str]] = set()
        self._left: set[tuple[str, str]] = set()
        self._least_urgent = 0

    def run(self, work: Sequence[Work], hours: Hours) -> int:
        """Returns how many steps it took."""
        self._entered = {(each.project_id, each.stage) for each in work}
        self._left = set(self._entered)
        for each in work:
            of_it = _Job(each.project_id, each.priority, each.complexity)
            if each.is_at_work:
                line = self._lines[each.stage]
                line.busy += 1
                left = line.durations.left(each.complexity, each.since)
                self._at(left, "free", each.stage)
                self._at(left, "done", each.stage, of_it)
            else:
                self._wait(each.stage, of_it, -each.since)
        # Only those newcomers count who go before somebody: the others come behind everybody who is here.
        self._least_urgent = max((each.priority for each in work), default=0)
        self._hour_begins(hours, 0)
        for name, line in self._lines.items():
            for at in line.stage.leave:
                self._at(at, "leaves", name)
            self._start(name, 0.0)
        steps = 0
        while self._left:
            steps += 1
            at, _, what, stage, job = heapq.heappop(self._due)
            if what == "hour":
                self._hour_begins(hours, round(at / HOUR_SECONDS))
            elif what == "leaves":
                self._lines[stage].workers -= 1
            elif job is None:
                self._lines[stage].busy -= 1
            elif what == "done":
                self._done(stage, job, at)
            else:
                self._wait(stage, job, at)
            self._start(stage, at)
        return steps

    def _at(self, at: float, what: str, stage: str, job: _Job | None = None) -> None:
        heapq.heappush(self._due, (at, next(self._order), what, stage, job))

    def _wait(self, stage: str, job: _Job, at: float) -> None:
        line = self._lines[stage]
        line.arrived += at
        heapq.heappush(line.queue, (job.priority * AGEING_SECONDS + at, next(self._order), at, job))

    def _start(self, stage: str, now: float) -> None:
        line = self._lines[stage]
        if line.is_short(now):
            line.workers += 1
            line.rests_until = now + line.stage.rest
        while line.queue and line.busy < line.workers:
            _, _, arrived, job = heapq.heappop(line.queue)
            line.arrived -= arrived
            line.busy += 1
            took = line.durations.draw(job.complexity)
            self._at(now + took.seconds * took.share, "free", stage)
            self._at(now + took.seconds, "done", stage, job)

    def _done(self, stage: str, job: _Job, at: float) -> None:
        if (job.project_id, stage) in self._left:
            self.ends[job.project_id, stage] = at
            self._left.discard((job.project_id, stage))
        following = self._after.get(stage)
        if following not in self._lines:
            return
        if job.project_id:  # a newcomer has no name, and is in one place only
            if (job.project_id, following) in self._entered:
                return
            self._entered.add((job.project_id, following))
            self._left.add((job.project_id, following))
        self._wait(following, job, at)
        self._start(following, at)

    def _hour_begins(self, hours: Hours, number: int) -> None:
        first = self._first
        if number >= len(hours) or first not in self._lines:
            return
        begin = number * HOUR_SECONDS
        for each in self._source.choice(hours[number]) if hours[number] else ():
            if each.priority < self._least_urgent:
                self._at(begin + each.at, "comes", first, _Job("", each.priority, each.complexity))
        self._at(begin + HOUR_SECONDS, "hour", first)
