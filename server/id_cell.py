"""An id in a table: where there is no room for all of it, its end stays, which tells it from others."""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from .wording import cut_inside

LEAST = 10


@dataclass(frozen=True)
class IdCell:
    """For a cell of rich's tables."""

    text: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = cell_len(self.text)
        return Measurement(min(LEAST, width), width).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        limit = options.max_width
        while limit > 1 and cell_len(cut_inside(self.text, limit)) > options.max_width:  # some letters are two wide
            limit -= 1
        yield Text(cut_inside(self.text, limit), no_wrap=True, overflow="ellipsis")
