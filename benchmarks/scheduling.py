"""How long a crew takes for a graph of tasks, beside the least time that any order could take.

    python benchmarks/scheduling.py [--dags FOLDER] [--runs 1] [--seconds 300] [--quick]

Each graph is worked off by 4 and by 8 workers in a simulation in which the server's own code orders what is ready; so
is it with the task that is ready longest first (first come), and the longest task first. Given is by how much each
takes longer than the bound (`bounds.py`), on the average over the graphs: with true estimates, with estimates that are
0.5 to 2 times the truth, with what was learned of each kind of task in an earlier run, and with none. Then the smallest
graphs are worked off by `crewyard run`, with agents that sleep as long as their task takes, scaled to five minutes,
beside the simulation: the whole command, with its start-up, worktrees, commits, merges and clean-up. ``--dags`` names a
folder of graphs (`simulation.loaded` tells their form); without it they are made up, the same ones each time.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import figures
from bounds import least_makespan
from figures import Goal, Row, Section, Series
from simulation import Dag, FirstCome, LongestFirst, Ours, loaded, made_up, makespan
from yards import make_repository

from crewyard.server import estimates

MADE_UP, SEED = 24, 1
GOALS = {4: 1.0, 8: 2.0}  # % over the bound, with true estimates
ROUNDS = 5
NEAR = 1.05
# What others do on the machine must not hold launches: the agents only sleep.
BUSY_OR_NOT = "[launch]\nmax_cpu_percent = 100\n"
LEAST_TASKS, MOST_TASKS = 30, 80  # of the graphs that are run in earnest: each task has its worktree and its merge
Estimates = Callable[[Dag, random.Random], list[float]]


def measure(asked: argparse.Namespace) -> Section:
    if asked.quick:
        asked.runs, asked.seconds = 1, 8.0
    dags = list(made_up(MADE_UP, SEED)) if asked.dags is None else loaded(asked.dags)
    rows = [row for workers in GOALS for row in simulated(dags, workers)]
    small = sorted((dag for dag in dags if LEAST_TASKS <= len(dag.seconds) <= MOST_TASKS), key=lambda d: len(d.seconds))
    rows += [run_for_real(dag, workers, asked.seconds) for dag in small[: asked.runs] for workers in GOALS]
    title = f"Scheduling of {len(dags)} graphs{'' if asked.dags else ' that are made up'}"
    return Section(title, " ".join((__doc__ or "").split("\n\n")[-1].split()), rows)


def simulated(dags: Sequence[Dag], workers: int) -> Iterator[Row]:
    bounds = [least_makespan(dag.seconds, dag.parents, workers) for dag in dags]
    for what, estimate in ESTIMATES.items():
        over: dict[str, list[float]] = {"ours": [], "first come": [], "longest first": []}
        for number in range(1 if what in EXACT else ROUNDS):
            chance = random.Random(number)
            for dag, bound in zip(dags, bounds, strict=True):
                guess = estimate(dag, chance)
                orders = (Ours(dag, guess, workers), FirstCome(), LongestFirst(guess))
                for name, order in zip(over, orders, strict=True):
                    over[name].append((makespan(dag, workers, order) / bound - 1) * 100)
        ours, *others = (Series(values, at=None) for values in over.values())
        beside = dict(zip(list(over)[1:], others, strict=True))
        goals = [Goal(at_most=GOALS[workers])] if what == "true" else []
        yield Row(f"{workers} workers, {what} estimates", "% over the bound", ours, beside, goals)


def run_for_real(dag: Dag, workers: int, seconds: float) -> Row:
    """`crewyard run` of the graph, its times scaled so that it should take so many seconds."""
    scale = seconds / makespan(dag, workers, Ours(dag, dag.seconds, workers))
    short = Dag(dag.name, dag.titles, [round(own * scale, 2) for own in dag.seconds], dag.parents)
    expected = makespan(short, workers, Ours(short, short.seconds, workers))
    what = f"`crewyard run` of {len(dag.seconds)} tasks, {workers} workers ({dag.name})"
    took = Series([slept(short, workers)])
    return Row(what, "s", took, {"simulation": Series([expected])}, [Goal("simulation", at_most=NEAR)])


def slept(dag: Dag, workers: int) -> float:
    tasks = [
        {
            "task_id": f"T{task:06}",
            "title": dag.titles[task],
            "agent_type": "scripted",
            "estimated_hours": max(own, 0.01),
            "depends_on": [f"T{parent:06}" for parent in dag.parents[task]],
            "description": f"```crew-script\nsleep {own}\nwrite T{task}.txt done\n```",
        }
        for task, own in enumerate(dag.seconds)
    ]
    with tempfile.TemporaryDirectory() as name:
        repo = make_repository(Path(name) / "repo", 236, 0)
        subprocess.run(["git", "-C", str(repo), "reset", "-q", "--hard"], check=True)
        (repo / "crewyard.toml").write_text(BUSY_OR_NOT)
        plan = Path(name) / "plan.json"
        plan.write_text(json.dumps({"tasks": tasks}))
        command = [sys.executable, "-m", "crewyard.server.cli", "run", str(plan), "--repo", str(repo)]
        began = time.perf_counter()
        subprocess.run([*command, "--max-parallel", str(workers), "--json"], check=True, capture_output=True)
        return time.perf_counter() - began


def noisy(dag: Dag, chance: random.Random) -> list[float]:
    return [own * 2 ** chance.uniform(-1, 1) for own in dag.seconds]


def learned(dag: Dag, chance: random.Random) -> list[float]:
    """What the server makes of an earlier run, in which each took 0.5 to 2 times as long as now; no hours are given."""
    works = [estimates.Work(title, None, 1.0) for title in dag.titles]
    return estimates.corrected(works, zip(works, noisy(dag, chance), strict=True))


ESTIMATES: dict[str, Estimates] = {
    "true": lambda dag, _: list(dag.seconds),
    "noisy": noisy,
    "learned": learned,
    "no": lambda dag, _: [1.0] * len(dag.seconds),
}
EXACT = ("true", "no")

if __name__ == "__main__":
    parser = figures.parser(__doc__)
    parser.add_argument("--dags", type=Path, metavar="FOLDER", help="graphs to use; made-up ones without")
    parser.add_argument("--runs", type=int, default=1, help="graphs that are run in earnest")
    parser.add_argument("--seconds", type=float, default=300.0, help="what each of these should take")
    figures.run(measure, parser)
