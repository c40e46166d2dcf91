"""An agent's output as it grows: over rotations and, for a task, on to its next agent. No byte twice, none left out."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import agents, states
from .errors import AgentNotFound, NotFound
from .outputs import FILE_NAME
from .store import Reader, Row, Store, Transaction

BLOCK = 65536
LOOK_SECONDS = 0.2
SETTLED = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Worked:
    """Who works or worked under a name, oldest first. ``is_over``: nobody will write any more."""

    agents: list[Row]
    is_task: bool
    is_over: bool


def worked(tx: Transaction, name: str) -> Worked:
    """The agent of that id, or all of that task. Raises NotFound."""
    task = tx.one("SELECT status FROM specs_task WHERE task_id = ?", (name,))
    if task is not None:
        rows = tx.all("SELECT * FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid", (name,))
        return Worked(rows, is_task=True, is_over=task["status"] in SETTLED and not any(map(_lives, rows)))
    try:
        row = agents.get(tx, name)
    except AgentNotFound:
        hint = "`crewyard status` names the agents at work, `crewyard plan show` the tasks."
        raise NotFound(f"There is no agent or task {name!r}.", hint=hint) from None
    return Worked([row], is_task=False, is_over=not _lives(row))


def print_once(store: Reader | Store, name: str, lines: int | None, write: Callable[[bytes], None]) -> bool:
    """Write what the last agent has written; returns whether there was anything. Raises NotFound."""
    seen = store.read(worked, name)
    if not seen.agents:
        return False
    with contextlib.closing(Output(Path(seen.agents[-1]["run_dir"]), lines)) as output:
        return output.copy(write)


def follow(
    store: Reader | Store, name: str, lines: int | None, write: Callable[[bytes], None], said: Callable[[str], None]
) -> None:
    """Write what the last agent wrote and writes, and any that follows it, until nobody will any more.

    Raises NotFound.
    """
    seen = store.read(worked, name)
    place = max(0, len(seen.agents) - 1)
    if not seen.agents:
        said(f"Task {name} has no agent yet." if not seen.is_over else f"Task {name} has had no agent.")
    while True:
        if place < len(seen.agents):
            with contextlib.closing(Output(Path(seen.agents[place]["run_dir"]), lines)) as output:
                seen = _follow_one(store, name, seen.agents[place]["agent_id"], output, write, said)
            place, lines = place + 1, None
            if place < len(seen.agents):
                row = seen.agents[place]
                said(f"Task {name} goes on with {row['agent_id']}, attempt {row['attempt']}.")
                continue
        if seen.is_over:
            return
        time.sleep(LOOK_SECONDS)
        seen = store.read(worked, name)


def _follow_one(
    store: Reader | Store,
    name: str,
    agent_id: str,
    output: "Output",
    write: Callable[[bytes], None],
    said: Callable[[str], None],
) -> Worked:
    """Write until that agent has ended; returns how things stand then."""
    while True:
        seen = store.read(worked, name)  # before the output: what has ended by then is all in there
        output.copy(write)
        if output.has_lost:
            said("Some output was rotated away before it could be shown.")
            output.has_lost = False
        if not any(row["agent_id"] == agent_id and _lives(row) for row in seen.agents):
            return seen
        time.sleep(LOOK_SECONDS)


def _lives(agent: Row) -> bool:
    return agent["status"] in states.LIVE_AGENT


@dataclass
class Output:
    """The output of one agent, from its beginning or its last ``lines``, each byte once."""

    folder: Path
    lines: int | None = None
    has_lost: bool = False
    _file: int | None = None
    _before: list[int] = field(default_factory=list)

    def copy(self, write: Callable[[bytes], None]) -> bool:
        """Write what has come since the last call; returns whether anything has."""
        if self._file is None and not self._begin():
            return False
        wrote = False
        while True:
            for file in (*self._before, *([] if self._file is None else [self._file])):
                for data in _rest(file):
                    write(data)
                    wrote = True
            for file in self._before:
                os.close(file)
            self._before.clear()
            if not self._go_on():
                return wrote

    def close(self) -> None:
        for file in (*self._before, *([] if self._file is None else [self._file])):
            os.close(file)
        self._before, self._file = [], None

    def _begin(self) -> bool:
        previous, self._file = _opened(self.folder)
        if self._file is None:
            return False
        self._before = [] if previous is None else [previous]
        if self.lines is not None:
            _seek_last([*self._before, self._file], self.lines)
        return True

    def _go_on(self) -> bool:
        """Take up the file that the runner has begun meanwhile; returns whether there is one."""
        if self._file is None or _inode(self.folder / FILE_NAME) in (None, _inode(self._file)):
            return False
        previous, fresh = _opened(self.folder)
        if fresh is None:
            return False
        self._before = [self._file]  # what came into it after it was last read
        if previous is not None and _inode(previous) == _inode(self._file):
            os.close(previous)
        elif previous is not None:
            self._before.append(previous)
            self.has_lost = True
        self._file = fresh
        return True


def _opened(folder: Path) -> tuple[int | None, int | None]:
    """The file before the present one, and the present one: two of one moment."""
    while True:
        fresh = _open(folder / FILE_NAME)
        previous = _open(folder / f"{FILE_NAME}.1")
        if fresh is None or previous is None or _inode(fresh) != _inode(previous):
            return previous, fresh
        os.close(fresh)
        os.close(previous)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _inode(file: Path | int) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_ino if isinstance(file, Path) else os.fstat(file).st_ino
    return None


def _rest(file: int) -> Iterator[bytes]:
    while data := os.read(file, BLOCK):
        yield data


def _seek_last(files: list[int], lines: int) -> None:
    """Set each to where the last ``lines`` lines of all together begin."""
    wanted = lines
    for file in reversed(files):
        end = os.lseek(file, 0, os.SEEK_END)
        at = end
        while wanted > 0 and at > 0:
            begin = max(0, at - BLOCK)
            block = os.pread(file, at - begin, begin)
            # A line that ends where the output ends is the last one, and none begins behind it.
            stop = len(block) - 1 if at == end and file == files[-1] and block.endswith(b"\n") else len(block)
            while wanted > 0 and (found := block.rfind(b"\n", 0, stop)) >= 0:
                wanted -= 1
                stop = found
            at = begin + found + 1 if wanted == 0 else begin
        os.lseek(file, at, os.SEEK_SET)
