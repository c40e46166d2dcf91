"""The agent's output on disk, bounded."""

import os

from .journal import complain


class RotatedFile:
    """At most two files of ``limit`` bytes each, the older one with ``.1``."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.total = 0
        self._open()

    def _open(self) -> None:
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.size = 0

    def write(self, data: bytes) -> None:
        self.total += len(data)
        try:
            if self.size + len(data) > self.limit:
                os.replace(self.path, self.path + ".1")
                os.close(self.file)
                self._open()
            self.size += os.write(self.file, data)
        except OSError as error:  # a full disk costs output, never the agent
            complain(f"output: {error}")
