"""The agent's output on disk, bounded."""

import os

from .journal import complain

HEAD_BYTES = 64 * 1024  # a program names its conversation in one of its first lines


class RotatedFile:
    """At most two files of ``limit`` bytes each, the older one with ``.1``. What is let go begins as ``.head`` says."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.total = 0
        self.size = 0
        self.has_older = self.has_head = False
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
        if self.has_older and not self.has_head:
            self._keep_head()
        fresh = self._new()
        os.replace(self.path, self.path + ".1")
        os.replace(self.path + ".new", self.path)
        os.close(self.file)
        self.file, self.size, self.has_older = fresh, 0, True

    def _keep_head(self) -> None:
        """Of the very first file, whose place is taken next. That makes room, and so comes about in any case."""
        self.has_head = True
        try:
            with open(self.path + ".1", "rb") as first:
                data = first.read(HEAD_BYTES)
            head = self._new()
            try:
                os.write(head, data)
            finally:
                os.close(head)
            os.replace(self.path + ".new", self.path + ".head")
        except OSError as error:
            complain(f"output: {error}")

    def _new(self) -> int:
        return os.open(self.path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
