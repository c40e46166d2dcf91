"""Tells other processes that something was committed: each that listens has a named pipe beside the database.

Announcing costs a few microseconds a listener and never fails: what a listener that is about to come would have missed,
it finds by looking at the database after it began to listen. A process that was killed between its commit and its
announcement, or a program that is not ours, is noticed by ``PRAGMA data_version`` (see ``changes``), later.
"""

import contextlib
import errno
import os
import stat
import uuid
from pathlib import Path

LOOK_SECONDS = 0.5  # how often who listens looks for what nobody announced


class Listener:
    """Becomes readable when some process has committed. Its pipe is gone when it is closed."""

    def __init__(self, database: Path) -> None:
        folder = _folder(database)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path = folder / f"{os.getpid()}-{uuid.uuid4().hex}"
        unready = self._path.with_suffix(".new")
        os.mkfifo(unready, 0o600)
        # Read and write: with no other writer the pipe would be readable (at its end) for ever.
        self._descriptor = os.open(unready, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        unready.rename(self._path)  # who finds a pipe under its name that nobody reads knows its listener dead

    def fileno(self) -> int:
        return self._descriptor

    def drain(self) -> None:
        """Take the announcements that have come in."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, 4096):
                continue

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


class Announcer:
    """Tells every process that listens to a database that it has changed."""

    def __init__(self, database: Path) -> None:
        self._folder = str(_folder(database))

    def announce(self) -> None:
        """Wake them; what is left of one that was killed is removed.

        It never fails: what is announced has been committed, and must not be taken for something that was not.
        """
        try:
            names = os.listdir(self._folder)
        except OSError:
            # Nobody has listened yet, or we have no descriptor left: who listens looks now and then as well.
            return
        for name in names:
            if not name.endswith(".new"):
                with contextlib.suppress(OSError):
                    _ring(f"{self._folder}/{name}")


def _folder(database: Path) -> Path:
    return database.with_name(f"{database.name}-listeners")


def _ring(pipe: str) -> None:
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ENXIO:
            Path(pipe).unlink(missing_ok=True)
        return
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):  # whatever else lies there is somebody's, and none of ours
            os.write(descriptor, b"!")  # one that is full wakes its listener already
    finally:
        os.close(descriptor)
