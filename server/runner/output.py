"""The agent's output on disk, bounded."""

import os

from .journal import complain


class RotatedFile:
    """At most two files of ``limit`` bytes each, the older one with ``.1``."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.total = 0
        self.size = 0
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def write(self, data: bytes) -> None:
        self.total += len(data)
        try:
            if self.size + len(data) > self.limit:
                self._begin_another()
            self.size += os.write(self.file, data)
        except OSError as error:  # a full disk costs output, never the agent
            complain(f"output: {error}")

    def _begin_another(self) -> None:
        """The next file is there before the last one is let go: what fails here changes nothing."""
        fresh = os.open(self.path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.replace(self.path, self.path + ".1")
        os.replace(self.path + ".new", self.path)
        os.close(self.file)
        self.file, self.size = fresh, 0
