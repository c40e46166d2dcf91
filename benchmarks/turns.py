"""Contestants of a benchmark, each in a process of its own Python, that take turns.

A contestant reads numbers on standard input, does its work so many times, and answers with the seconds that it took
(``serve``). So each has the libraries that it needs and nobody else's, and what disturbs the machine disturbs all.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class Contestant:
    """One of them, from where we sit."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self, times: int) -> float:
        """Seconds that it took to do it so many times."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{times}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


def serve(work: Callable[[], object]) -> None:
    """A contestant's side."""
    for line in sys.stdin:
        times = int(line)
        began = time.perf_counter()
        for _ in range(times):
            work()
        print(time.perf_counter() - began, flush=True)


@contextmanager
def _started(commands: Mapping[str, Sequence[str | Path]]) -> Iterator[dict[str, Contestant]]:
    contestants = {name: Contestant(command) for name, command in commands.items()}
    try:
        yield contestants
    finally:
        for contestant in contestants.values():
            contestant.end()


def rates(commands: Mapping[str, Sequence[str | Path]], times: int, rounds: int) -> dict[str, list[float]]:
    """How often a second each did its work, in each round; whoever begins a round changes. One turn warms up."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    with _started(commands) as contestants:
        for contestant in contestants.values():
            contestant.turn(max(1, times // 10))
        names = list(contestants)
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                found[name].append(times / contestants[name].turn(times))
    return found
