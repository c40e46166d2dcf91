"""``crewyard top``: the yard on one screen, until q or Ctrl-C. It only looks, and gives the terminal back as it was."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.live import Live

from . import attention, clock, host, progress
from .errors import DatabaseBusy, InvalidInput, StoreError
from .status import Look, looking
from .store import Row, Transaction
from .top_view import Host, Picture, Screen

LOOK_SECONDS = 1.0
ROWS_READ = 200
QUITS = b"qQ\x03\x04"
ENDING = (signal.SIGTERM, signal.SIGHUP)


def show(start: Path) -> int:
    """Draw until somebody quits; returns the exit code.

    Raises InvalidInput where there is no terminal to draw on, GitError where there is no repository.
    """
    if not sys.stdout.isatty():
        raise InvalidInput("`crewyard top` needs a terminal.", hint="`crewyard status --json` is for scripts.")
    with contextlib.suppress(KeyboardInterrupt), ExitStack() as stack:
        signals = stack.enter_context(_signals())
        keys = stack.enter_context(_keys())
        watch = stack.enter_context(Watch(start))
        live = stack.enter_context(Live(console=Console(), screen=True, auto_refresh=False))
        stack.callback(live.console.clear)  # tmux shows what is left of it, if the window was made larger
        while True:
            live.update(Screen(watch.picture()), refresh=True)
            if code := _rest(keys, signals):
                return 0 if code == ord("q") else 128 + code
    return 0


def _rest(keys: int | None, signals: int) -> int:
    """Wait for the next look; returns ``q`` or the number of a signal where it is time to go."""
    deadline = time.monotonic() + LOOK_SECONDS
    asked = [each for each in (keys, signals) if each is not None]
    while ready := select.select(asked, [], [], max(0.0, deadline - time.monotonic()))[0]:
        if signals in ready:
            heard = os.read(signals, 64)
            ending = [number for number in heard if number in ENDING]
            return ending[0] if ending else 0  # else the window has another size: draw at once
        typed = os.read(ready[0], 64)
        if not typed or any(key in QUITS for key in typed):
            return ord("q")
    return 0


@dataclass
class Watch:
    """Looks at one yard, which may come into being, be busy, or be moved away meanwhile."""

    start: Path
    _look: Look | None = None
    _opened: ExitStack = field(default_factory=ExitStack)
    _file: tuple[int, int] | None = None
    _machine: host.Watch | None = None
    _last: Picture | None = None

    def __enter__(self) -> "Watch":
        with contextlib.suppress(StoreError, InvalidInput):
            self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def picture(self) -> Picture:
        """The yard now; where it cannot be read, the last picture with the reason."""
        try:
            self._last = self._seen(self._open())
        except DatabaseBusy:
            since = "" if self._last is None else f"; shown is {clock.local_time(self._last.at)}"
            return replace(self._blank(), trouble=f"Another process holds the database{since}")
        except (StoreError, InvalidInput) as error:
            self._close()
            return replace(self._blank(), trouble=f"{error.message} {error.hint}".strip(), at=clock.now())
        return self._last

    def _blank(self) -> Picture:
        return self._last or Picture(str(self.start.resolve()), clock.now())

    def _open(self) -> Look:
        """Raises GitError, InvalidInput, StoreError. Where there is no yard yet, the next look tries again."""
        if self._look is not None:
            if _identity(self._look.store.path) == self._file:
                return self._look
            self._close()
        self._look = self._opened.enter_context(looking(self.start))
        self._file = _identity(self._look.store.path)
        self._machine = host.Watch(self._look.located.root)
        return self._look

    def _close(self) -> None:
        self._opened.close()
        self._look = self._last = None

    def _seen(self, look: Look) -> Picture:
        status = look.now(with_messages=False)
        approvals = not look.located.approves_by_itself
        tasks, total, messages = look.store.read(_rows, status.seen.at, approvals=approvals)
        return Picture(str(look.located.root), status.seen.at, status, self._host(), tasks, total, messages)

    def _host(self) -> Host | None:
        if self._machine is None:
            return None
        seen = self._machine.glance()
        cpu = seen.cpu_percent if seen.per_core else None
        memory, disk = seen.memory, seen.disk
        return Host(cpu, os.cpu_count() or 1, seen.load_average[0], memory.available, memory.total, disk.available)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _rows(tx: Transaction, now: str, *, approvals: bool) -> tuple[list[progress.Line], int, list[Row]]:
    """Open tasks, those at work first, how many there are, and the youngest messages that wait."""
    open_ones = "FROM specs_task WHERE status NOT IN ('completed', 'cancelled')"
    order = (
        "ORDER BY instr('in_progress assigned   failed     ready      pending', status), priority, "
        "remaining_hours DESC, task_id LIMIT ?"
    )
    ids = [row[0] for row in tx.all(f"SELECT task_id {open_ones} {order}", (ROWS_READ,))]
    messages = attention.unread_messages(tx, ROWS_READ)
    total = int(tx.value(f"SELECT count(*) {open_ones}"))
    return progress.table(tx, ids, now, approvals=approvals), total, messages


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Standard input, key by key and unseen; None where it is no terminal, or not ours."""
    descriptor = sys.stdin.fileno()
    if not _is_ours(descriptor):
        yield None
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _is_ours(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # a terminal, and not the one that controls us
        return False


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that tells of signals: those that end us, and a window of another size."""
    heard, told = os.pipe()
    for end in (heard, told):
        os.set_blocking(end, False)
    before = {number: signal.signal(number, _take_note) for number in (*ENDING, signal.SIGWINCH)}
    last = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    try:
        yield heard
    finally:
        signal.set_wakeup_fd(last)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(heard)
        os.close(told)


def _take_note(number: int, frame: FrameType | None) -> None:
    """Its number is in the pipe already."""
