"""An agent's output as a person reads it, made so line by line while it comes, whatever its lines hold. Pure."""

import re
from collections.abc import Iterator

from . import kinds
from .endings import COLOURS
from .kinds import Kind
from .wording import cut

LINE_BYTES = 2**20  # no longer line is understood; an event that holds a whole file may be ten times that
WORDS_SHOWN = 1000  # of a line that is no event
_COLOURS = re.compile(COLOURS)
# What a terminal would obey. An event's text may hold it though the line does not.
_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))


class Transcript:
    """The output of an agent of one kind. What it keeps of it is never more than one line of ``LINE_BYTES``."""

    def __init__(self, kind: Kind, *, begins_inside: bool = False) -> None:
        """``begins_inside``: what comes first is the rest of a line whose beginning is not known."""
        self._kind = kind
        self._line = bytearray()
        self._length = 0  # of the present line, as far as it has come
        self._is_known = not begins_inside

    def feed(self, data: bytes) -> Iterator[str]:
        """The words of each line that is complete now, without the end of their last line."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._take(end)
            yield from self._words()
            self._line.clear()
            self._length, self._is_known = 0, True
        self._take(rest)

    def end(self) -> Iterator[str]:
        """The words of a last line that was not ended. An event that was cut off says nothing."""
        cut_off = self._line.startswith(b"{") and not self._line.rstrip().endswith(b"}")
        if self._length and not cut_off:
            yield from self._words()

    def _take(self, data: bytes) -> None:
        self._line += data[: max(0, LINE_BYTES - len(self._line))]
        self._length += len(data)

    def _words(self) -> Iterator[str]:
        if not self._is_known:
            return
        line = self._line.decode(errors="replace").rstrip("\r")
        if self._length > LINE_BYTES:
            yield f"{clean(line[:WORDS_SHOWN])}… (a line of {self._length:,} bytes)"
            return
        words = self._kind.readable(line)
        if words is not None:
            yield clean(cut(words, WORDS_SHOWN) if words == line else words)


def clean(words: str) -> str:
    """Without what a terminal would obey, beside line ends and tabs."""
    return _COLOURS.sub("", words).translate(_CONTROLS)


def of(kind: Kind, data: bytes, *, begins_inside: bool) -> list[str]:
    """The lines that a piece of output says."""
    transcript = Transcript(kind, begins_inside=begins_inside)
    return [line for words in (*transcript.feed(data), *transcript.end()) for line in words.split("\n")]


def are_events(kind: Kind) -> bool:
    """Whether its output is anything but the words themselves."""
    return not isinstance(kind, kinds.Command)
