"""Crewyard beside runit, s6, supervisord, circus and pm2, each with the same children: what a crash costs.

    python benchmarks/supervisors.py [--children 50] [--bin DIR]... [--only NAME]... [--json]

For each that is found in a `--bin` folder, on PATH or beside this Python:

- restart: from kill -9 of a child to its successor's first words, with no backoff; every child has lived 7 s by then.
- takeover: kill -9 of the supervisor itself, and it is started again: children that run twice, and pids that were kept.
- memory: PSS of all supervising processes together (server, runners, runsv, …), without the children.
- stop: a child whose grandchild has a session of its own and ignores SIGTERM: is it gone after the child was stopped?
  Told by each one's own command, Crewyard by a tool call of a connected client; the grace is 1 s everywhere.

Prints medians with the least and the most, and ratios to runit in the same run.
"""

import argparse
import json
import os
import random
import select
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from supervised import CHILD, MARK, SUPERVISORS, Supervisor, Yard, find

START_SECONDS = 120.0
HEALTHY_SECONDS = 7.0
RESTART_SECONDS = 30.0
SETTLE_SECONDS = 5.0
LEAK_SECONDS = 4.0
STOPS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=15, help="children that are killed, one after the other")
    parser.add_argument("--seed", type=int, default=1, help="which of them")
    parser.add_argument("--bin", type=Path, action="append", default=[], help="a folder with programs")
    parser.add_argument("--only", action="append", choices=[one.name for one in SUPERVISORS])
    parser.add_argument("--json", action="store_true", help="print one object")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind then either
    results = {one.name: examine(one, options) for one in SUPERVISORS if one.name in (options.only or [one.name])}
    if options.json:
        print(json.dumps({"children": options.children, "rounds": options.rounds, "supervisors": results}))
    else:
        show(results, options.children)
    return 1 if any("error" in result for result in results.values()) else 0


def examine(kind: type[Supervisor], options: argparse.Namespace) -> dict[str, Any]:
    programs = {name: find(name, options.bin) for name in kind.needs}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        return {"missing": missing, "install": kind.install}
    found = {name: path.absolute() for name, path in programs.items() if path is not None}
    print(f"{kind.name} …", file=sys.stderr)
    names = [f"child-{n}" for n in range(options.children)]
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        try:
            with_crashes = Trial(kind, found, Yard(Path(folder) / "a", names)).crash(options)
            with_stops = Trial(kind, found, Yard(Path(folder) / "b", names[:STOPS], daemonises=True)).stop()
        except (OSError, RuntimeError, ValueError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
    return {**with_crashes, **with_stops}


class Trial:
    """One supervisor, from its start to the last of its processes; each measure returns figures by name."""

    def __init__(self, kind: type[Supervisor], programs: dict[str, Path], yard: Yard) -> None:
        self.yard = yard
        self.supervisor = kind(yard, programs)
        self.heard = b""
        self.pids: dict[str, int] = {}  # the latest of each name

    def crash(self, options: argparse.Namespace) -> dict[str, Any]:
        try:
            figures = {"start_seconds": self.start()}
            time.sleep(HEALTHY_SECONDS)
            figures |= self.memory()
            chance = random.Random(options.seed)
            victims = chance.sample(self.yard.names, min(options.rounds, len(self.yard.names)))
            took = [self.restart(name) for name in victims]
            figures["restart_ms"] = spread(took)
            time.sleep(HEALTHY_SECONDS)
            return figures | self.take_over()
        finally:
            self.end()

    def stop(self) -> dict[str, Any]:
        try:
            self.start()
            self.supervisor.connect()
            time.sleep(HEALTHY_SECONDS)
            rows = [self.stop_child(name) for name in self.yard.names]
        finally:
            self.end()
        gone = [row[1] for row in rows if row[1] is not None]
        return {
            "stop_child_ms": spread([row[0] for row in rows]),
            "stop_grandchild_ms": spread(gone) if gone else None,
            "leaked": len(rows) - len(gone),
            "stopped": len(rows),
        }

    def start(self) -> float:
        """Seconds until all children run, with their grandchildren."""
        began = time.monotonic()
        self.supervisor.start()
        wanted = set(self.yard.names)
        if self.yard.daemonises:
            wanted |= {f"grandchild-{name}" for name in wanted}
        for name, _ in self.births(START_SECONDS):
            wanted.discard(name)
            if not wanted:
                return round(time.monotonic() - began, 2)
        raise RuntimeError(f"{len(wanted)} children do not run after {START_SECONDS:g} s")

    def births(self, seconds: float) -> Iterator[tuple[str, float]]:
        """Who has been born since, as (name, monotonic time of its first words)."""
        deadline = time.monotonic() + seconds
        while select.select([self.yard.births], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data, at = os.read(self.yard.births, 1 << 16), time.monotonic()
            *lines, self.heard = (self.heard + data).split(b"\n")
            for line in lines:
                name, pid = line.decode().split()
                self.pids[name] = int(pid)
                yield name, at

    def restart(self, name: str) -> float:
        """Milliseconds from a child's kill to its successor's first words."""
        for _ in self.births(0.3):
            continue
        began = time.monotonic()
        os.kill(self.pids[name], signal.SIGKILL)
        for born, at in self.births(RESTART_SECONDS):
            if born == name:
                return (at - began) * 1000
        raise RuntimeError(f"{name} was not restarted within {RESTART_SECONDS:g} s")

    def memory(self) -> dict[str, Any]:
        found = marked(self.yard.folder)
        wanted = {pid for pid, child in found.items() if child is None} | self.supervisor.keepers()
        total = sum(pss_mib(pid) for pid in wanted)
        return {
            "processes": len(wanted),
            "pss_mib": round(total, 2),
            "pss_mib_per_child": round(total / len(self.yard.names), 3),
        }

    def take_over(self) -> dict[str, Any]:
        before = dict(self.pids)
        self.supervisor.kill()
        time.sleep(1.0)
        orphaned = sum(is_alive(pid) for pid in before.values())
        self.supervisor.start()
        time.sleep(SETTLE_SECONDS)
        for _ in self.births(SETTLE_SECONDS):
            continue
        now = self.live_children()
        name = self.yard.names[0]
        return {
            "left_running": orphaned,
            "doubled": sum(len(pids) > 1 for pids in now.values()),
            "kept": sum(now[name] == {before[name]} for name in self.yard.names),
            "lost": sum(not pids for pids in now.values()),
            "restart_after_takeover_ms": round(self.restart(name), 1) if now[name] else None,
        }

    def live_children(self) -> dict[str, set[int]]:
        found = marked(self.yard.folder)
        return {name: {pid for pid, child in found.items() if child == name} for name in self.yard.names}

    def stop_child(self, name: str) -> tuple[float, float | None]:
        """Milliseconds until the child is gone, and its grandchild; None where that is left behind."""
        child, grandchild = (os.pidfd_open(self.pids[who]) for who in (name, f"grandchild-{name}"))
        began = time.monotonic()
        self.supervisor.stop_child(name)
        if not select.select([child], [], [], RESTART_SECONDS)[0]:
            raise RuntimeError(f"{name} was not stopped within {RESTART_SECONDS:g} s")
        gone = (time.monotonic() - began) * 1000
        if not select.select([grandchild], [], [], LEAK_SECONDS)[0]:
            return gone, None
        return gone, (time.monotonic() - began) * 1000

    def end(self) -> None:
        """Kill all that this trial has started, known by the marks in its environment."""
        while left := marked(self.yard.folder):
            for pid in left:
                kill(pid, self.yard.folder)
            for process in (self.supervisor.process, self.supervisor.client):
                if process is not None:
                    process.wait()
            time.sleep(0.05)
        os.close(self.yard.births)


def marked(folder: Path) -> dict[int, str | None]:
    """The processes of the trial in ``folder``, each with the name of the child that it is (None for any other)."""
    found = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        marks = marks_of(pid)
        child = marks.get(CHILD, "").removeprefix(f"{folder}:")
        if child != marks.get(CHILD, ""):
            found[pid] = child
        elif marks.get(MARK) == str(folder):
            found[pid] = None
    return found


def marks_of(pid: int) -> dict[str, str]:
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.decode(errors="replace").partition("=") for entry in data.split(b"\0"))
    return {name: value for name, _, value in pairs if name in (MARK, CHILD)}


def kill(pid: int, folder: Path) -> None:
    """kill -9, if that pid is still one of the trial's."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if any(str(folder) in value for value in marks_of(pid).values()):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pss_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def spread(values: list[float]) -> dict[str, float]:
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 1) for name, value in figures.items()} | {"count": len(values)}


def show(results: dict[str, dict[str, Any]], children: int) -> None:
    table = Table(title=f"{children} children each; ratios to runit of the same run")
    heads = ("", "killed -> restarted", "x runit", "doubled", "pids kept", "PSS", "a child", "x runit")
    for head in (*heads, "child stopped", "its hidden grandchild"):
        table.add_column(head, justify="left" if not head else "right")
    base = results.get("runit", {})
    for name, found in results.items():
        table.add_row(name, *(row(found, base, children) if "restart_ms" in found else [excuse(found)]))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def row(found: dict[str, Any], base: dict[str, Any], children: int) -> list[str]:
    has_base = "restart_ms" in base
    slower = found["restart_ms"]["median"] / base["restart_ms"]["median"] if has_base else 0.0
    bigger = found["pss_mib"] / base["pss_mib"] if has_base else 0.0
    gone = found["stop_grandchild_ms"]
    leaked = f"leaked, {found['leaked']} of {found['stopped']}"
    return [
        told(found["restart_ms"]),
        f"{slower:.1f}" if has_base else "",
        f"{found['doubled']} of {children}",
        f"{found['kept']} of {children}",
        f"{found['pss_mib']:.1f} MiB",
        f"{found['pss_mib_per_child']:.2f} MiB",
        f"{bigger:.1f}" if has_base else "",
        told(found["stop_child_ms"]),
        f"gone, {told(gone)}" if not found["leaked"] else leaked,
    ]


def told(figures: dict[str, float]) -> str:
    digits = 1 if figures["median"] < 100 else 0
    median, least, most = (f"{figures[name]:,.{digits}f}" for name in ("median", "min", "max"))
    return f"{median} ms ({least}-{most})"


def excuse(found: dict[str, Any]) -> str:
    return f"not installed: {found['install']}" if "missing" in found else found["error"]


if __name__ == "__main__":
    sys.exit(main())
