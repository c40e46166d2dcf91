"""What a person sees at a terminal: the live table of a run, and its end, all read from the database."""

import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from . import clock, progress
from .headless import Begun
from .id_cell import IdCell
from .progress import Line
from .wording import sentence

STYLES = {
    "merged": "green", "completed": "green", "running": "cyan", "starting": "cyan", "checking": "blue",
    "merging": "blue", "waiting": "yellow", "held": "yellow", "asks": "bold yellow", "failed": "red", "review": "red",
    "cancelled": "red", "blocked": "dim", "ready": "white", "assigned": "white",
}  # fmt: skip


def progress_of(begun: Begun) -> "PlainProgress | LiveProgress":
    """The live table on a terminal, plain lines elsewhere; either is entered with ``with``."""
    return LiveProgress(begun) if sys.stderr.isatty() else PlainProgress(begun)


class PlainProgress:
    """A line for each thing that happens, on standard error."""

    def __init__(self, begun: Begun) -> None:
        self._begun = begun
        self._ids = frozenset(begun.task_ids)
        self._last = begun.crew.store.read(progress.latest_event)

    def __enter__(self) -> "PlainProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.look()

    def look(self) -> None:
        self._last, lines = self._begun.crew.store.read(
            progress.told, self._last, self._ids, approvals=_approvals(self._begun)
        )
        for line in lines:
            print(line, file=sys.stderr, flush=True)  # noqa: T201  (what this module is for)


class LiveProgress:
    """The table of tasks, redrawn in place on standard error."""

    def __init__(self, begun: Begun) -> None:
        self._begun = begun
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=False)

    def __enter__(self) -> "LiveProgress":
        self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self.look()
        self._live.__exit__(*details)

    def look(self) -> None:
        begun, now = self._begun, clock.now()
        read, settings = begun.crew.store.read, begun.crew.settings
        default = settings.default_agent
        lines = read(progress.table, begun.task_ids, now, approvals=_approvals(begun), default_agent=default)
        held = [row for row in read(progress.held, begun.task_ids, default) if row["until"] > now]
        told = [progress.told_of_hold(row["scope"], row["reason"], row["message"], row["until"]) for row in held]
        self._live.update(draw(lines, self._live.console.size, told), refresh=True)


def _approvals(begun: Begun) -> bool:
    """Whether its merges wait for approvals."""
    return not begun.crew.settings.merge.auto_approve


def open_holds(begun: Begun) -> list[str]:
    """What a person is to mend before agents that the run still needs can start."""
    rows = begun.crew.store.read(progress.held, begun.task_ids, begun.crew.settings.default_agent)
    return [sentence(progress.cure_of_hold(row)) for row in rows]


def draw(lines: list[Line], size: ConsoleDimensions, told: Sequence[str] = ()) -> Group:
    """The table and what is ``told`` below it, at most as high as the screen.

    What is at work is the first to stay, settled tasks are the first to go.
    """
    below = [part for each in told for part in ("", *textwrap.wrap(sentence(each), max(20, size.width)))]
    table = _table(lines, size.width, max(3, size.height - 4 - len(below)))
    return Group(table, *(Text(part, "yellow", no_wrap=True) for part in below))


def _table(lines: list[Line], width: int, room: int) -> Table:
    columns = COLUMNS if width >= WIDE else {name: how for name, how in COLUMNS.items() if name != "agent"}
    table = Table(box=None, pad_edge=False, expand=True)
    for name, options in columns.items():
        table.add_column(name, **options)
    shown = lines if len(lines) <= room else sorted(lines, key=_rank)[:room]
    for line in shown:
        cells = _cells(line)
        if "agent" not in columns:
            cells[""] = Text(line.note or line.agent or line.title, overflow="ellipsis")
        table.add_row(*(cells[name] for name in columns))
    if len(shown) < len(lines):
        states = [line.state for line in lines]
        counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        table.caption = f"{len(lines)} tasks: {counted}"
    return table


def _cells(line: Line) -> dict[str, str | Text | IdCell]:
    return {
        "task": IdCell(line.task_id),
        "state": Text(line.state, style=STYLES.get(line.state, "")),
        "agent": IdCell(line.agent),
        "try": str(line.attempt or ""),
        "time": "" if line.seconds is None else f"{line.seconds:.1f} s",
        "": Text(line.note or line.title, overflow="ellipsis"),
    }


# Narrower than this, a line has room for the agent or for what there is to say, not for both.
WIDE = 100
COLUMNS: dict[str, dict[str, Any]] = {
    "task": {"no_wrap": True},
    "state": {"no_wrap": True, "min_width": 8},
    "agent": {"no_wrap": True, "max_width": 28},
    "try": {"justify": "right"},
    "time": {"justify": "right", "no_wrap": True},
    "": {"no_wrap": True, "ratio": 1},
}


def _rank(line: Line) -> int:
    order = (
        "asks",
        "running",
        "starting",
        "checking",
        "merging",
        "held",
        "waiting",
        "review",
        "failed",
        "ready",
        "assigned",
    )
    return order.index(line.state) if line.state in order else len(order)


def print_outcome(result: dict[str, Any]) -> None:
    """The end of a run, for a person, on standard output."""
    console = Console()
    for task in result["tasks"]:
        state, error = task["status"], task["error"]
        is_left = error is not None and error["code"] == "blocker_not_completed"
        state = "pending" if is_left else state.replace("in_progress", "at work")  # as status and the plan have it
        where = task["merge_commit"][:10] if task["merge_commit"] else ""
        tries = f"{task['attempts']} attempts" if task["attempts"] > 1 else ""
        facts = "  ".join(each for each in (task["task_id"], where, tries) if each)
        console.print(Text(f"{state:<10}", style=STYLES.get(task["status"], "")), Text(facts))
        if error:
            why = error["message"] if is_left else f"{error['code']}: {error['message']}"
            if console.is_terminal:
                console.print(Padding(Text(why), (0, 0, 0, 11)))
            else:
                console.print(f"{'':<11}{why}", markup=False, soft_wrap=True)
    totals = result["totals"]
    good = totals["merged"] + totals["completed"]
    if good < totals["tasks"]:
        console.print(
            "`crewyard why TASK` tells more and what to do, `crewyard logs TASK` what an agent wrote; the same command "
            "tries them again.",
            markup=False,
        )
    console.print(
        f"{good} of {totals['tasks']} tasks done on branch {result['integration_branch']} "
        f"in {result['duration_seconds']:.1f} s, {totals['attempts']} agents launched.",
        highlight=False,
    )
