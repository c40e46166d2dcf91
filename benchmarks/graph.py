"""A plan's graph as it grows: beside libraries that hold it in memory, and a query that counts nothing beforehand.

    python benchmarks/graph.py [--tasks 1000,10000,100000] [--rounds 7] [--quick]

Each task waits for three of the layer before it, of fifty layers. "Ready" reads the next four tasks. "Complete" ends a
task and makes ready what waited for nothing else, on disk; the libraries only take it out of memory. "Import" reads,
checks and stores a plan, which the libraries parse, hold and check. A cycle check and a critical path begin with
loading the graph from the database: with the libraries as with ours. Each contestant is a process of its own, and all
sizes of all take turns, so that beside ours stands ours at the smallest size as well.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import figures
import graphs
import peers
import turns
from figures import Goal, Row, Section, Series
from graphs import NetworkX, NotExists, Ours, RustworkX

from crewyard.server import clock, plans
from crewyard.server.readers import read_plan
from crewyard.server.store import Store

LAYERS, EDGES = 50, 3
MOST_GROWTH, MOST_OF_RUSTWORKX = 1.5, 2.0
# How often a question is asked in a turn; what it is called; who answers it.
QUESTIONS: Mapping[str, tuple[int, str, tuple[type, ...]]] = {
    "ready": (100, "ready", (Ours, NotExists, NetworkX, RustworkX)),
    "complete": (20, "complete and unblock", (Ours, NetworkX, RustworkX)),
    "cycle_check": (1, "cycle check", (Ours, NetworkX, RustworkX)),
    "critical_path": (1, "critical path", (Ours, NetworkX, RustworkX)),
    "importing": (1, "import", (Ours, NetworkX, RustworkX)),
}
FLAT = ("ready", "complete")


def measure(asked: argparse.Namespace) -> Section:
    if asked.quick:
        asked.tasks, asked.rounds = "1000,10000", 3
    pythons, missing = contestants()
    sizes = [int(size) for size in asked.tasks.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folders = {size: make_plan(Path(name) / str(size), size) for size in sizes}
        rows = [row for question in QUESTIONS for row in answered(question, pythons, folders, asked.rounds)]
    return Section("The graph of a plan", " ".join((__doc__ or "").split("\n\n")[-1].split()), rows, missing)


def contestants() -> tuple[dict[str, str], dict[str, str]]:
    """The Python of each that can be had, and why others cannot."""
    found, missing = {Ours.name: sys.executable, NotExists.name: sys.executable}, {}
    for name in (NetworkX.name, RustworkX.name):
        try:
            found[name] = str(peers.python(name))
        except peers.Missing as error:
            missing[name] = str(error)
    return found, missing


def make_plan(folder: Path, size: int) -> Path:
    """A plan as a file and in a database."""
    chance, width = random.Random(size), max(EDGES, size // LAYERS)
    tasks = []
    for n in range(size):
        before = range((n // width - 1) * width, n // width * width) if n >= width else ()
        waits = [f"T{b}" for b in chance.sample(before, EDGES)] if before else []
        tasks.append(
            {"task_id": f"T{n}", "title": f"Task {n}", "estimated_hours": chance.randint(1, 8), "depends_on": waits}
        )
    text = json.dumps({"tasks": tasks})
    store = Store(graphs.database(folder))
    (folder / "plan.json").write_text(text)
    store.run(plans.import_plan, read_plan(text, name="plan.json"), now=clock.now(), actor="bench")
    store.close()
    return folder


def answered(question: str, pythons: Mapping[str, str], folders: Mapping[int, Path], rounds: int) -> Iterator[Row]:
    times, called, who = QUESTIONS[question]
    script = Path(__file__).with_name("graphs.py")
    commands = {
        told(each.name, size): [pythons[each.name], script, each.name, question, folder]
        for size, folder in folders.items()
        for each in who
        if each.name in pythons
    }
    took = {
        name: Series([1000 / rate for rate in found]) for name, found in turns.rates(commands, times, rounds).items()
    }
    smallest = min(folders)
    for size in folders:
        beside = {each.name: took[told(each.name, size)] for each in who[1:] if each.name in pythons}
        if question in FLAT and size != smallest:
            beside[told(Ours.name, smallest)] = took[told(Ours.name, smallest)]
        yield Row(f"{called}, {size:,} tasks", "ms", took[told(Ours.name, size)], beside, goals_of(question, smallest))


def told(name: str, size: int) -> str:
    return f"{name}, {size:,} tasks"


def goals_of(question: str, smallest: int) -> list[Goal]:
    if question in FLAT:
        return [Goal(told(Ours.name, smallest), at_most=MOST_GROWTH)]
    return [Goal(RustworkX.name, at_most=MOST_OF_RUSTWORKX)] if question != "importing" else []


if __name__ == "__main__":
    parser = figures.parser(__doc__)
    parser.add_argument("--tasks", default="1000,10000,100000", metavar="N,…", help="sizes of the plan")
    parser.add_argument("--rounds", type=int, default=7)
    figures.run(measure, parser)
