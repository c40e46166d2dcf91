"""Import of a plan, the ready query, and a completion that sets others free, at growing sizes.

    python benchmarks/plan.py [TASKS …]

Each task waits for three earlier ones. The ready query reads four tasks; it should take the same at every size.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from crewyard.server import clock, plans, tasks
from crewyard.server.readers import read_plan
from crewyard.server.store import Store


def main() -> None:
    sizes = [int(given) for given in sys.argv[1:]] or [100, 1_000, 10_000]
    print("  tasks    edges   read+import   ready query   complete one")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            measure(size, Store(Path(folder) / "data" / "orchestrator.db"))


def measure(size: int, store: Store) -> None:
    rows = [
        {"task_id": f"T{n}", "depends_on": [f"T{b}" for b in {n - 1, n // 2, n // 3} if 0 <= b < n]}
        for n in range(size)
    ]
    # Half of them wait for nothing, so that there is much to choose from.
    text = json.dumps({"tasks": [row if n % 2 else {"task_id": row["task_id"]} for n, row in enumerate(rows)]})
    began = time.perf_counter()
    report = store.run(plans.import_plan, read_plan(text, name="plan.json"), now=clock.now(), actor="bench")
    took = time.perf_counter() - began
    ready = median(lambda: store.read(tasks.ready, limit=4), 50)
    first = [row["task_id"] for row in store.read(tasks.ready, limit=20)]
    done = iter(first)
    complete = median(lambda: store.run(tasks.complete, next(done), now=clock.now(), actor="bench"), len(first))
    print(f"{size:7} {report.dependencies_added:8} {took:10.3f} s {ready:10.3f} ms {complete:11.3f} ms")
    store.close()


def median(call: Callable[[], object], times: int) -> float:
    """Milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    main()
