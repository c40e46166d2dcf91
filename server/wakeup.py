"""The bell that wakes the acting supervisor: a named pipe that any process may ring, and that one listens to.

Ringing costs a few microseconds and never fails: where nobody listens, nobody needs to be woken, since whoever takes
the lease looks at everything first.
"""

import contextlib
import os
from pathlib import Path


class Bell:
    """``ring`` from any process; ``listen``, ``drain`` and ``close`` in the one that holds the lease."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listening: int | None = None

    def ring(self) -> None:
        """Wake the listener, if there is one."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            os.write(descriptor, b"!")
        except BlockingIOError:
            return  # full of rings already
        except BrokenPipeError:
            return  # the listener left in this moment
        finally:
            os.close(descriptor)

    def listen(self) -> int:
        """Begin to listen; returns the descriptor to wait on. May be called twice."""
        if self._listening is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self.path, 0o600)
            # Read and write: with no other writer the pipe would be readable (at its end) for ever.
            self._listening = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return self._listening

    def drain(self) -> None:
        """Take the rings that have come in."""
        if self._listening is None:
            return
        try:
            while os.read(self._listening, 4096):
                continue
        except BlockingIOError:
            return

    def close(self) -> None:
        """Stop listening. May be called twice."""
        if self._listening is not None:
            os.close(self._listening)
            self._listening = None
