"""The ends of an agent's output, whose size does not matter; and whether it has grown."""

import os
from pathlib import Path

FILE_NAME = "output.log"
HEAD_BYTES = 64 * 1024  # a program names its conversation in one of its first lines
TAIL_BYTES = 256 * 1024  # the object in which one tells its usage holds its whole answer
NEWLINE = "\n"


def tail(run_dir: str, *, lines: int, max_chars: int) -> str:
    """The last ``lines`` lines, at most ``max_chars`` of them; empty where nothing was written yet."""
    try:
        with (Path(run_dir) / FILE_NAME).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4 * max_chars))
            data = file.read()
    except FileNotFoundError:
        return ""
    text = data.decode(errors="replace")
    return "\n".join(text.rstrip("\n").split("\n")[-lines:])[-max_chars:]


def ends(run_dir: Path) -> str:
    """How the output began and how it ended, in whole lines; all of it where it is short."""
    files = [path for path in (run_dir / f"{FILE_NAME}.1", run_dir / FILE_NAME) if path.exists()]
    sizes = [path.stat().st_size for path in files]
    if sum(sizes) <= HEAD_BYTES + TAIL_BYTES:
        return b"".join(path.read_bytes() for path in files).decode(errors="replace")
    head = _piece(files[0], 0, HEAD_BYTES)
    left, tail = TAIL_BYTES, b""
    for path, size in zip(reversed(files), reversed(sizes), strict=True):
        taken = min(left, size)
        tail, left = _piece(path, size - taken, taken) + tail, left - taken
    return (
        f"{head.decode(errors='replace').rpartition(NEWLINE)[0]}\n{tail.decode(errors='replace').partition(NEWLINE)[2]}"
    )


def _piece(path: Path, begin: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(length)


def state(run_dir: str) -> tuple[int, int, int]:
    """Differs when something was written, also into a new file of the same name; zeros before there is any."""
    try:
        found = (Path(run_dir) / FILE_NAME).stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
