"""What it takes to sample agents, as a share of one core, beside other ways to do it.

    python benchmarks/sampling.py [TREES] [SAMPLES] [SECONDS]

Each tree is a process like a runner, that keeps an agent of two processes: three in all. All of them are sampled as
the supervisor does it, with the write to the database, once in SECONDS (30, the default of the health check); then each
runner looks at its own processes, as it does for each sign of life (every 15 s). CPU time of the processes that do it.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from crewyard.server import clock, process, samples
from crewyard.server.host import Watch
from crewyard.server.launcher import BEAT_SECONDS
from crewyard.server.runner import descendants
from crewyard.server.sections import Health
from crewyard.server.store import Store
from crewyard.server.usage import Sampler, Tree

# As a runner: no site-packages, its own module; told on its input to look, it answers with the CPU seconds of that.
RUNNER = """
import importlib.util, subprocess, sys, time
spec = importlib.util.spec_from_file_location("descendants", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.HAS_CHILDREN = module.HAS_CHILDREN and sys.argv[2] == "children"
agent = subprocess.Popen(["sh", "-c", "sleep 3600 & wait"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
sys.stdout.write("ready\\n"); sys.stdout.flush()
for line in sys.stdin:
    began = time.process_time()
    module.usage()
    sys.stdout.write(f"{time.process_time() - began}\\n"); sys.stdout.flush()
"""


def main() -> None:
    trees, count, seconds = [int(word) for word in sys.argv[1:]] + [100, 5, int(Health().check_interval_seconds)][
        len(sys.argv) - 1 :
    ]
    runners = [start("children") for _ in range(trees)]
    scanners = [start("scan") for _ in range(3)]
    try:
        report(runners, scanners, count, seconds)
    finally:
        for each in runners + scanners:
            for child in psutil.Process(each.pid).children(recursive=True):
                child.kill()
            each.kill()
            each.communicate()


def start(way: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-I", "-S", "-c", RUNNER, descendants.__file__, way]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    started.stdout.readline()
    return started


def report(
    runners: "list[subprocess.Popen[str]]", scanners: "list[subprocess.Popen[str]]", count: int, seconds: float
) -> None:
    names = {each.pid: Tree(process.identify(each.pid), None) for each in runners}
    print(f"{len(runners)} agents, {2 * len(runners)} processes of theirs, {len(psutil.pids())} on the machine")
    with tempfile.TemporaryDirectory() as folder:
        store, sampler, watch = Store(Path(folder) / "orchestrator.db"), Sampler(), Watch(Path(folder))

        def sample() -> None:
            used = sampler.glance(names)
            assert len(used) == len(runners)
            figures = {str(name): (each.cpu_percent, each.memory_mb) for name, each in used.items()}
            store.note(samples.record, watch.glance(), figures, now=clock.now())

        sample()
        whole = cpu_seconds(sample, count, seconds)
        look = cpu_seconds(lambda: sampler.glance(names), count, 1.0)
        store.close()
    beat = sum(asked(each) for each in runners)
    scan = statistics.median(asked(each) for each in scanners) * len(runners)
    print("\none sample of all, ms of CPU")
    print(f"  one pass over /proc, as we do    {1000 * look:7.1f}")
    print(f"  the same, written to the database {1000 * whole:6.1f}")
    for name, way in (("psutil.process_iter", by_psutil), ("psutil's children of each", by_children)):
        print(f"  {name:31}  {1000 * cpu_seconds(lambda way=way: way(names), 1, 0.0):7.1f}")
    print("\nshare of one core")
    print(f"  the supervisor, every {seconds:2.0f} s        {100 * whole / seconds:6.3f} %")
    print(f"  all runners, every {BEAT_SECONDS:2.0f} s           {100 * beat / BEAT_SECONDS:6.3f} %")
    print(f"  together                         {100 * (whole / seconds + beat / BEAT_SECONDS):6.3f} %")
    print(f"  (runners that look at all of /proc {100 * scan / BEAT_SECONDS:4.1f} %)")


def cpu_seconds(call: Callable[[], Any], count: int, apart: float) -> float:
    """The median of one call, made so many times, so far apart: what nobody has touched meanwhile is cold."""
    found = []
    for _ in range(count):
        time.sleep(apart)
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return statistics.median(found)


def asked(runner: "subprocess.Popen[str]") -> float:
    assert runner.stdin is not None
    assert runner.stdout is not None
    runner.stdin.write("look\n")
    runner.stdin.flush()
    return float(runner.stdout.readline())


def by_psutil(_names: dict[int, Tree]) -> float:
    total = 0.0
    for each in psutil.process_iter():
        with each.oneshot():
            total += sum(each.cpu_times()[:4]) + each.memory_info().rss + each.ppid()
    return total


def by_children(names: dict[int, Tree]) -> float:
    total = 0.0
    for pid in names:
        for each in psutil.Process(pid).children(recursive=True):
            total += sum(each.cpu_times()[:4]) + each.memory_info().rss
    return total


if __name__ == "__main__":
    main()
