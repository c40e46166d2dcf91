"""`crewyard run` of tasks that sleep, beside the least time in which they could be done.

    python benchmarks/makespan.py [TASKS] [PARALLEL] [SEED]

Tasks sleep 0.5 to 2 s and wait for up to two earlier ones. The bound is max(critical path, total / parallel); the whole
command is timed, with its start-up, every worktree, commit, merge and clean-up.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from yards import make_repository


def main() -> None:
    count, parallel, seed = (int(given) for given in (*sys.argv[1:], "16", "4", "1")[:3])
    chance = random.Random(seed)
    seconds = [round(chance.uniform(0.5, 2.0), 2) for _ in range(count)]
    waits = [chance.sample(range(n), min(n, chance.choice((0, 1, 1, 2)))) for n in range(count)]
    took = run(count, parallel, seconds, waits)
    path: list[float] = []
    for n in range(count):
        path.append(seconds[n] + max((path[other] for other in waits[n]), default=0.0))
    bound = max(*path, sum(seconds) / parallel)
    print(f"{count} tasks, {parallel} at a time, seed {seed}: sequential {sum(seconds):.1f} s, bound {bound:.2f} s")
    print(f"crewyard run: {took:.2f} s, {took / bound:.2f} x the bound")


def run(count: int, parallel: int, seconds: list[float], waits: list[list[int]]) -> float:
    tasks = [
        {
            "task_id": f"T{n}",
            "title": f"Sleep {seconds[n]} s",
            "agent_type": "scripted",
            "estimated_hours": seconds[n],
            "depends_on": [f"T{other}" for other in waits[n]],
            "description": f"```crew-script\nsleep {seconds[n]}\nwrite T{n}.txt done\n```",
        }
        for n in range(count)
    ]
    with tempfile.TemporaryDirectory() as name:
        repo = make_repository(Path(name) / "repo", 236, 0, checked_out=True)
        plan = Path(name) / "plan.json"
        plan.write_text(json.dumps({"tasks": tasks}))
        command = [sys.executable, "-m", "crewyard.server.cli", "run", str(plan), "--repo", str(repo)]
        began = time.perf_counter()
        subprocess.run([*command, "--max-parallel", str(parallel), "--json"], check=True, capture_output=True)
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
