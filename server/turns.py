"""Whose turn it is to write to the database: SQLite lets whoever asks first in the right moment go ahead (design 7).

A process that waits for SQLite's lock sleeps ever longer, so that of eight that write all the time the one that has
just written gets the lock again, and others wait for seconds. Here who waits asks often, and who waits first blocks
the way for whoever comes back: two locks on files, of which the first is held while waiting for the second.

It is a matter of fairness only. SQLite's own lock keeps the data right, also against programs that know nothing of
this, and a process that dies gives its locks up.
"""

import fcntl
import os
import time
from pathlib import Path

from .errors import StoreError

# Short enough that eight writers wait no more than some tens of milliseconds, long enough that the one at work does
# several things in a row, which is what makes it quick.
QUEUE_SECONDS = 0.0005
HEAD_SECONDS = 0.0001
# Who has waited longer than this asks as often as the first: of those that ask equally often chance passes one over
# again and again. Few wait so long, so that it costs the others next to nothing.
PATIENCE_SECONDS = 0.02


class Turns:
    """The writers' queue of one database. Each connection needs its own."""

    def __init__(self, database: Path) -> None:
        self._files = [database.with_name(f"{database.name}-{name}") for name in ("queue", "turn")]
        self._locks: list[int] = []

    def take(self, timeout_seconds: float) -> None:
        """Wait for the turn and hold it; after ``timeout_seconds`` go without: SQLite's lock decides then."""
        while len(self._locks) < len(self._files):
            file = self._files[len(self._locks)]
            try:
                self._locks.append(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise StoreError(f"{file}: {error.strerror}.", hint="Make it yours, or remove it.") from error
        queue, turn = self._locks
        end = time.monotonic() + timeout_seconds
        if _lock(queue, QUEUE_SECONDS, end):
            try:
                _lock(turn, HEAD_SECONDS, end)
            finally:
                fcntl.flock(queue, fcntl.LOCK_UN)

    def give(self) -> None:
        """Let the next one write. May be called without having the turn."""
        fcntl.flock(self._locks[1], fcntl.LOCK_UN)

    def close(self) -> None:
        while self._locks:
            os.close(self._locks.pop())


def _lock(descriptor: int, pause: float, end: float) -> bool:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if now >= end:
                return False
            time.sleep(pause if now - began < PATIENCE_SECONDS else HEAD_SECONDS)
        else:
            return True
