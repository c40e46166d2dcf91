"""What a runner writes for whoever supervises: its journal, flushed line by line, and the bell that it rings."""

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Journal:
    """Append-only, in the run folder. A full disk is waited out, since the exit must not be lost."""

    def __init__(self, bell: str) -> None:
        self.bell = bell

    def write(self, kind: str, at: "str | None" = None, **facts: "Any") -> None:
        line = json.dumps({"kind": kind, "at": at or timestamp(), **facts}).encode() + b"\n"
        while not self._append(line) and not is_abandoned():
            time.sleep(1.0)

    def _append(self, line: bytes) -> bool:
        """Whoever is rung for reads the line while it is still on its way to the disk, and records it himself."""
        descriptor = -1
        try:
            descriptor = os.open("journal.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            # A line that an earlier try left half written is closed, and skipped by the reader.
            if os.write(descriptor, b"\n" + line) != len(line) + 1:
                return False
            ring(self.bell)
            os.fsync(descriptor)
            return True
        except OSError as error:
            complain(f"journal: {error}")
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def is_abandoned() -> bool:
    """Whether our run folder was deleted, and the yard with it: nobody will ever read what we write."""
    return os.stat(".").st_nlink == 0


def ring(bell: str) -> None:
    try:
        descriptor = os.open(bell, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return  # nobody listens
    try:
        os.write(descriptor, b"!")
    except OSError:
        return
    finally:
        os.close(descriptor)


def complain(text: str) -> None:
    """To the run folder's runner.log, where that can be written: the disk may be what is wrong."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        return


def timestamp() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
