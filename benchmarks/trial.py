"""One supervisor with its children, from its start to the last of its processes, and what is measured of them."""

import os
import random
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from supervised import CHILD, MARK, Supervisor, Yard

START_SECONDS = 300.0
HEALTHY_SECONDS = 7.0  # that every child has lived before anything is done to it
RESTART_SECONDS = 30.0
SETTLE_SECONDS = 5.0
LEAK_SECONDS = 4.0
SEED = 1
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Rest:
    """What it costs while all its children sleep: of all supervising processes together, without the children."""

    start_seconds: float
    memory_mb: float  # PSS, for each child
    cpu_percent: float  # of a core


@dataclass(frozen=True)
class Crash:
    """From kill -9 of a child to its successor's first words, with no backoff; then of the supervisor itself."""

    restarts_ms: list[float]
    untouched: int  # children that the next supervisor neither lost nor doubled nor started anew


@dataclass(frozen=True)
class Stop:
    """A child whose grandchild has a session of its own and ignores SIGTERM is stopped; the grace is 1 s."""

    stops_ms: list[float]
    leaked: int  # grandchildren that live on


class Trial:
    """To be used once, for one of the three."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.yard: Yard = supervisor.yard
        self.supervisor = supervisor
        self.heard = b""
        self.pids: dict[str, int] = {}  # the latest of each name

    def rest(self, seconds: float) -> Rest:
        try:
            took = self.start()
            time.sleep(HEALTHY_SECONDS)
            keepers = self.keepers()
            weight = sum(pss_mb(pid) for pid in keepers) / len(self.yard.names)
            used, began = sum(cpu_seconds(pid) for pid in keepers), time.monotonic()
            time.sleep(seconds)
            used = sum(cpu_seconds(pid) for pid in keepers) - used
            return Rest(took, weight, 100 * used / (time.monotonic() - began))
        finally:
            self.end()

    def crash(self, rounds: int) -> Crash:
        try:
            self.start()
            time.sleep(HEALTHY_SECONDS)
            victims = random.Random(SEED).sample(self.yard.names, min(rounds, len(self.yard.names)))
            took = [self.restart(name) for name in victims]
            time.sleep(HEALTHY_SECONDS)
            return Crash(took, self.take_over())
        finally:
            self.end()

    def stop(self) -> Stop:
        try:
            self.start()
            self.supervisor.connect()
            time.sleep(HEALTHY_SECONDS)
            rows = [self.stop_child(name) for name in self.yard.names]
            return Stop([took for took, _ in rows], sum(leaked for _, leaked in rows))
        finally:
            self.end()

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
                return time.monotonic() - began
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

    def keepers(self) -> set[int]:
        """The supervising processes: server, runners, runsv, …"""
        return {pid for pid, child in marked(self.yard.folder).items() if child is None} | self.supervisor.keepers()

    def take_over(self) -> int:
        before = dict(self.pids)
        self.supervisor.kill()
        time.sleep(1.0)
        self.supervisor.start()
        time.sleep(SETTLE_SECONDS)
        for _ in self.births(SETTLE_SECONDS):
            continue
        now = self.live_children()
        return sum(now[name] == {before[name]} for name in self.yard.names)

    def live_children(self) -> dict[str, set[int]]:
        found = marked(self.yard.folder)
        return {name: {pid for pid, child in found.items() if child == name} for name in self.yard.names}

    def stop_child(self, name: str) -> tuple[float, bool]:
        """Milliseconds until the child is gone, and whether its grandchild is left behind."""
        child, grandchild = (os.pidfd_open(self.pids[who]) for who in (name, f"grandchild-{name}"))
        began = time.monotonic()
        self.supervisor.stop_child(name)
        if not select.select([child], [], [], RESTART_SECONDS)[0]:
            raise RuntimeError(f"{name} was not stopped within {RESTART_SECONDS:g} s")
        gone = (time.monotonic() - began) * 1000
        return gone, not select.select([grandchild], [], [], LEAK_SECONDS)[0]

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


def pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:")), 0.0)


def cpu_seconds(pid: int) -> float:
    """Of the process, and of its children that it has waited for."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(word) for word in words[11:15]) / TICKS
