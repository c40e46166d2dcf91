"""The output of one agent as it grows, over its rotations: byte for byte, or as a person reads it."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .kinds import ANY, Kind
from .outputs import FILE_NAME
from .transcripts import Transcript

BLOCK = 65536


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

    def finish(self, write: Callable[[bytes], None]) -> bool:
        """Write what was kept back until there is more; returns whether anything was."""
        return False

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


@dataclass
class Words(Output):
    """The same, as a person reads it; ``lines`` are then those that it says."""

    kind: Kind = ANY
    _transcript: Transcript = field(init=False)

    def __post_init__(self) -> None:
        self._transcript = Transcript(self.kind)
        self._first, self.lines = self.lines, None  # how many they are shows when all is read

    def copy(self, write: Callable[[bytes], None]) -> bool:
        if self._first is None:
            return self._copy(write)
        last: deque[bytes] = deque(maxlen=self._first)
        if super().copy(lambda data: last.extend(_lines(self._transcript.feed(data)))):
            self._first = None
        for line in last:
            write(line)
        return bool(last)

    def _copy(self, write: Callable[[bytes], None]) -> bool:
        wrote = False

        def put(data: bytes) -> None:
            nonlocal wrote
            for line in _lines(self._transcript.feed(data)):
                write(line)
                wrote = True

        super().copy(put)
        return wrote

    def finish(self, write: Callable[[bytes], None]) -> bool:
        lines = list(_lines(self._transcript.end()))
        for line in lines:
            write(line)
        return bool(lines)


def _lines(said: Iterable[str]) -> Iterator[bytes]:
    return (f"{line}\n".encode(errors="replace") for words in said for line in words.split("\n"))


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
