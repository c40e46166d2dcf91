"""Crewyard beside runit, s6, supervisord, circus and pm2, each with the same children.

    python benchmarks/supervision.py [--sizes 10 100 500] [--children 50] [--seconds 10] [--only NAME] [--quick]

The children are one shell script that sleeps; each supervisor restarts what ends as soon as its settings let it, and
one after another has them. At rest: memory (PSS) and CPU time of all supervising processes together, without the
children. Killed → restarted: from kill -9 of a child to its successor's first words, with no backoff. Untouched: the
supervisor itself is killed with -9 and started again, and these children run on, once. Stopped: by each one's own
command (Crewyard: a tool call) with a grace of 1 s; the child's grandchild has a session of its own and ignores
SIGTERM.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import figures
import peers
import trial
from figures import Goal, Row, Section, Series
from supervised import SUPERVISORS, Crewyard, Supervisor, Yard, programs
from trial import Trial

STOPS = 3
OF_GOAL, MOST_PERCENT = 100, 1.0
T = TypeVar("T")


def measure(asked: argparse.Namespace) -> Section:
    if asked.quick:
        asked.sizes, asked.children, asked.rounds, asked.seconds = [10], 10, 4, 5.0
        trial.HEALTHY_SECONDS = trial.SETTLE_SECONDS = 1.5
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind then either
    found = {}
    missing: dict[str, str] = {}
    for kind in SUPERVISORS:
        if asked.only and kind.name not in (*asked.only, Crewyard.name):
            continue
        try:
            found[kind] = programs(kind)
        except peers.Missing as error:
            missing[kind.name] = str(error)
    contest = Contest(found, missing)
    rows = [*(row for size in asked.sizes for row in at_rest(contest, size, asked.seconds))]
    rows += [*after_crashes(contest, asked.children, asked.rounds), *when_stopped(contest)]
    return Section("Supervision", " ".join((__doc__ or "").split("\n\n")[-1].split()), rows, missing)


class Contest:
    """All of them in the same trial, one after the other; why one has no figure stands in ``missing``."""

    def __init__(self, found: Mapping[type[Supervisor], dict[str, Path]], missing: dict[str, str]) -> None:
        self.found, self.missing = found, missing

    def of(self, what: str, children: int, act: Callable[[Trial], T], *, daemonises: bool = False) -> dict[str, T]:
        figures_of = {}
        names = [f"child-{n}" for n in range(children)]
        for kind, paths in self.found.items():
            print(f"{kind.name}: {what}, {children} children …", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
                try:
                    yard = Yard(Path(folder) / "yard", names, daemonises)
                    figures_of[kind.name] = act(Trial(kind(yard, paths)))
                except (OSError, RuntimeError, ValueError) as error:
                    if kind is Crewyard:
                        raise
                    self.missing[f"{kind.name} ({what}, {children} children)"] = f"{type(error).__name__}: {error}"
        return figures_of


def at_rest(contest: Contest, size: int, seconds: float) -> Iterator[Row]:
    found = contest.of("at rest", size, lambda trial: trial.rest(seconds))
    goals = [Goal(at_most=MOST_PERCENT)] if size == OF_GOAL else []
    cpu = {name: Series([each.cpu_percent]) for name, each in found.items()}
    memory = {name: Series([each.memory_mb]) for name, each in found.items()}
    start = {name: Series([each.start_seconds]) for name, each in found.items()}
    yield beside(f"CPU, {size} sleeping agents", "% of a core", cpu, goals)
    yield beside(f"memory for each of {size} agents", "MB", memory)
    yield beside(f"{size} agents started", "s", start)


def after_crashes(contest: Contest, children: int, rounds: int) -> Iterator[Row]:
    found = contest.of("crashes", children, lambda trial: trial.crash(rounds))
    yield beside("killed → restarted", "ms", {name: Series(each.restarts_ms) for name, each in found.items()})
    untouched = {name: Series([each.untouched]) for name, each in found.items()}
    yield beside("supervisor killed: untouched", f"of {children}", untouched, [Goal(at_least=children)])


def when_stopped(contest: Contest) -> Iterator[Row]:
    found = contest.of("stops", STOPS, Trial.stop, daemonises=True)
    yield beside("stopped", "ms", {name: Series(each.stops_ms) for name, each in found.items()})
    leaked = {name: Series([each.leaked]) for name, each in found.items()}
    yield beside("stopped: grandchildren left", f"of {STOPS}", leaked, [Goal(at_most=0)])


def beside(what: str, unit: str, found: dict[str, Series], goals: list[Goal] | None = None) -> Row:
    return Row(what, unit, found.pop(Crewyard.name), found, goals or [])


if __name__ == "__main__":
    parser = figures.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, OF_GOAL, 500])
    parser.add_argument("--children", type=int, default=50, help="of whom some are killed")
    parser.add_argument("--rounds", type=int, default=15, help="how many of them")
    parser.add_argument("--seconds", type=float, default=10.0, help="for which the CPU time is taken")
    parser.add_argument("--only", action="append", choices=[kind.name for kind in SUPERVISORS], help="beside these")
    figures.run(measure, parser)
