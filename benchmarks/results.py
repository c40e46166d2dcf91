"""`make bench`: runs the benchmarks one after another and writes benchmarks/RESULTS.md.

    python benchmarks/results.py [--quick] [NAME …] [-- OPTION …]

Each benchmark is a program of its own (`python benchmarks/NAME.py`), so that none lives in what another has left. With
names, these are measured anew and the others' figures stay as they are; what stands behind ``--`` is told each.
``--quick`` measures little: to see that all of it works. Figures are kept in benchmarks/results/, and RESULTS.md is
made from them.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import figures
import machine

HERE = Path(__file__).parent
KEPT = HERE / "results"
NAMES = ("serving", "messages", "graph", "scheduling", "dispatch", "supervision", "merging", "growth")
HEAD = """\
# Results

Made by `make bench`. Each row is ours beside others in the same run, as median and 10th to 90th percentile, or p99
where it says so. A ratio is ours to the other's. A machine's figures are its own; its ratios travel further. A goal
that is missed stands there as missed; where it is known what keeps us from it, a line below the table says so. No test
depends on any of this.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without")
    parser.add_argument("--quick", action="store_true", help="measure little, keep nothing")
    words = sys.argv[1:]
    mine, options = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    asked = parser.parse_args(mine)
    for name in asked.names or NAMES:
        print(f"--- {name}", flush=True)
        measure(name, options, quick=asked.quick)
        if not asked.quick:
            (HERE / "RESULTS.md").write_text(written(), encoding="utf-8")


def measure(name: str, options: Sequence[str], *, quick: bool) -> None:
    """Run one benchmark; what it has found is kept, but for a quick look's."""
    KEPT.mkdir(exist_ok=True)
    fresh = KEPT / f"{name}.new"
    where, began = machine.facts(), time.monotonic()
    how = ["--quick"] if quick else ["--json", str(fresh)]
    subprocess.run([sys.executable, str(HERE / f"{name}.py"), *how, *options], check=True)
    if not quick:
        taken = {"at": datetime.now(UTC).date().isoformat(), "seconds": round(time.monotonic() - began)}
        kept = {"machine": where, **taken, "section": json.loads(fresh.read_text(encoding="utf-8"))}
        (KEPT / f"{name}.json").write_text(
            json.dumps(kept, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
        )
        fresh.unlink()


def written() -> str:
    """RESULTS.md, from the figures that are kept."""
    found = [json.loads(path.read_text("utf-8")) for name in NAMES if (path := KEPT / f"{name}.json").exists()]
    left = [name for name in NAMES if not (KEPT / f"{name}.json").exists()]
    return "\n".join(
        [HEAD, *(_part(each) for each in found), *([f"Not measured yet: {', '.join(left)}."] if left else [])]
    )


def _part(kept: dict[str, Any]) -> str:
    where = "; ".join(f"{name}: {value}" for name, value in kept["machine"].items())
    return f"{figures.told(figures.loaded(kept['section']))}\n_{kept['at']}, in {kept['seconds']} s. {where}._\n"


if __name__ == "__main__":
    main()
