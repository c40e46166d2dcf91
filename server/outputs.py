"""The end of an agent's output file, read from behind so that its size does not matter; and whether it has grown."""

import os
from pathlib import Path

FILE_NAME = "output.log"


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


def state(run_dir: str) -> tuple[int, int, int]:
    """Differs when something was written, also into a new file of the same name; zeros before there is any."""
    try:
        found = (Path(run_dir) / FILE_NAME).stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
