"""The daemon's record: who it is and where it listens (L-07, L-11).

The daemon writes it itself, under a lock that it holds for life, so that there is never a second one. Whoever reads it
believes it only while the process that it names lives: not the same pid of another process, nor of another boot.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path

from . import process
from .errors import SingletonViolation
from .paths import InData, Paths
from .process import Identity

_held: set[int] = set()  # descriptors of locks


@dataclass(frozen=True)
class Daemon:
    """A daemon that is ready. ``token_in`` says where its bearer token is kept.

    ``configuration`` is the fingerprint of the settings that it began with (``locating``), where it is known.
    """

    pid: int
    start_time: str
    boot_id: str
    url: str
    token_in: str
    started_at: str
    configuration: str = ""

    @property
    def agents_url(self) -> str:
        """Where agents on this machine connect."""
        here = self.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        return f"{here.removesuffix('/mcp')}/agent/mcp"

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_time, self.boot_id)


def running(paths: InData) -> Daemon | None:
    """The daemon of this repository, where one lives."""
    recorded = _read(paths)
    return recorded if recorded is not None and process.is_alive(recorded.identity) else None


class Life:
    """What the daemon's own process may do while it holds the lock."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def record(self, url: str, token_in: str, *, now: str, configuration: str = "") -> None:
        """Let others know: from here on ``running`` finds this process."""
        me = process.myself()
        path = self._paths.daemon_record
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(Daemon(me.pid, me.start_time, me.boot_id, url, token_in, now, configuration)), file)
        fresh.replace(path)


@contextlib.contextmanager
def life(paths: Paths) -> Generator[Life, None, None]:
    """Be the daemon, until the block ends or the process dies. Raises SingletonViolation where there is one."""
    with _locked(paths.daemon_lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
        try:
            yield Life(paths)
        finally:
            paths.daemon_record.unlink(missing_ok=True)


@contextlib.contextmanager
def changing(paths: Paths, *, alone: bool, waits: Callable[[], None] = lambda: None) -> Generator[None, None, None]:
    """Start or stop the daemon: one start at a time (``alone``), and none while anybody stops it.

    Waits for its turn; ``waits`` is called before that.
    """
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(paths.daemon_turn, how | fcntl.LOCK_NB))
        except SingletonViolation:
            waits()
            stack.enter_context(_locked(paths.daemon_turn, how))
        yield


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Generator[None, None, None]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SingletonViolation(
            f"A daemon holds {path} already.", hint="`crewyard status` shows it, `crewyard stop` ends it."
        ) from error
    _held.add(descriptor)
    try:
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _let_go_in_child() -> None:
    """A lock is held by all who share its descriptor: what is forked off must not hold it beyond our death."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


def _read(paths: InData) -> Daemon | None:
    try:
        return Daemon(**json.loads(paths.daemon_record.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
