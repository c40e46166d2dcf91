"""How ``crewyard top`` looks: one screen, never more, whatever there is to show.

Each section gets the rows that it needs as long as there is room; where there is not, all give way alike, what matters
most last, and each says how much more there is.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from . import clock
from .id_cell import IdCell
from .overview import MergeView
from .progress import Line
from .status import AgentNow, Status
from .status_view import STYLES, lasted, lines_of_state, number, state_of
from .store import Row

WIDE = 120
TROUBLE_LINES = 4
LINES_OF_STATE = 9  # notes, holds and the like: a screen has more to show


@dataclass(frozen=True)
class Host:
    """The machine; ``cpu_percent`` None until two looks have been made."""

    cpu_percent: float | None
    cores: int
    load: float
    free_memory_mb: float
    memory_mb: float
    free_disk_mb: float


@dataclass(frozen=True)
class Picture:
    """All that one screen shows. ``trouble`` says why it is an old one, or none."""

    repository: str
    at: str
    status: Status | None = None
    host: Host | None = None
    tasks: list[Line] = field(default_factory=list)
    open_tasks: int = 0
    messages: list[Row] = field(default_factory=list)
    trouble: str = ""


@dataclass
class Section:
    """A heading and rows; ``total`` counts those beyond what was read as well."""

    name: str
    columns: tuple[tuple[str, bool], ...]  # heading, and whether its text may be cut
    rows: list[list[Text | IdCell]]
    total: int

    def shown(self, room: int) -> Table:
        """In ``room`` lines, its heading included."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for index, (heading, may_be_cut) in enumerate(self.columns):
            title = f"{self.name} ({self.total})" if index == 0 else heading
            table.add_column(Text(title, no_wrap=True, overflow="ellipsis"), no_wrap=not may_be_cut)
        rows = self.rows if self.total <= room - 1 else self.rows[: max(0, room - 2)]
        for row in rows:
            table.add_row(*row)
        if len(rows) < self.total and room > 1:
            more = Text(f"… and {self.total - len(rows)} more", style="dim", no_wrap=True)
            table.add_row(more, *[""] * (len(self.columns) - 1))
        return table


@dataclass
class Screen:
    """The picture, fitted to whatever console draws it."""

    picture: Picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield draw(self.picture, options.max_width, options.height or console.size.height)


def draw(picture: Picture, width: int, height: int) -> Group:
    """At most ``height`` lines of ``width`` cells."""
    head = _head(picture, width)
    if picture.status is None:
        return Group(*[_fitted(line, width) for line in head[:height]])
    sections = [section for section in _sections(picture, is_wide=width >= WIDE) if section.total]
    rooms = shares([section.total + 1 for section in sections], height - len(head))
    drawn = [section.shown(room) for section, room in zip(sections, rooms, strict=True) if room]
    return Group(*[_fitted(line, width) for line in head[:height]], *drawn)


def shares(wanted: Sequence[int], room: int) -> list[int]:
    """How many lines each gets. One line alone is no use: a heading without a row."""
    given = [0] * len(wanted)
    for index, lines in enumerate(wanted):
        if room >= 2:
            given[index] = min(2, lines)
            room -= given[index]
    while room > 0 and any(have < want for have, want in zip(given, wanted, strict=True) if have):
        for index, want in enumerate(wanted):
            if room > 0 and 0 < given[index] < want:
                given[index] += 1
                room -= 1
    return given


def _fitted(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line


# ----------------------------------------------------------------------------------------------- the head


def _head(picture: Picture, width: int) -> list[Text]:
    title = f"crewyard top  {picture.repository}"
    right = f"{clock.local_time(picture.at)}  q quits"
    gap = max(1, width - Text(title).cell_len - Text(right).cell_len)
    short = Text(title)
    short.truncate(max(1, width - len(right) - 2), overflow="ellipsis")
    lines = [Text.assemble((short.plain, "bold"), " " * (gap if short.plain == title else 2), (right, "dim"))]
    lines += [Text(part, "yellow") for part in textwrap.wrap(picture.trouble, max(20, width))[:TROUBLE_LINES]]
    if picture.host is not None:
        lines.append(Text(_of_host(picture.host)))
    if picture.status is None:
        return lines
    said = [part for line in lines_of_state(picture.status) for part in _wrapped(Text.assemble(*line), width)]
    if needs := picture.status.needs:
        more = ", ".join(each.subject for each in needs[1:])
        said[:0] = [
            Text(f"Needs you     {needs[0].subject} {needs[0].what}", "red"),
            Text(f"              → {needs[0].call}", "bold"),
            *([Text(f"              and {len(needs) - 1} more, see `crewyard status`: {more}", "red")] if more else []),
        ]
    if len(said) > LINES_OF_STATE:
        more = f"  … and {len(said) - LINES_OF_STATE + 1} more lines: `crewyard status` shows them"
        said = [*said[: LINES_OF_STATE - 1], Text(more, "dim")]
    return lines + said


def _wrapped(line: Text, width: int) -> list[Text]:
    """In as many lines as it needs, but for those of a few words; a hold's cure must be read whole."""
    parts = textwrap.wrap(line.plain, max(40, width), subsequent_indent=" " * 14)[:TROUBLE_LINES]
    return [line] if len(parts) < 2 else [Text(part, line.spans[0].style if line.spans else "") for part in parts]


def _of_host(host: Host) -> str:
    cpu = "-" if host.cpu_percent is None else f"{host.cpu_percent:.0f} %"
    free = f"RAM {host.free_memory_mb / 1024:.1f}/{host.memory_mb / 1024:.1f}, disk {host.free_disk_mb / 1024:.0f} GiB"
    return f"Host          CPU {cpu} ({number(host.cores, 'core')}), load {host.load:.1f}, free: {free}"


# ------------------------------------------------------------------------------------------- the sections


def _sections(picture: Picture, *, is_wide: bool) -> list[Section]:
    status = picture.status
    if status is None:
        return []
    now = status.seen.at
    agents = [_agent(row, now, is_wide=is_wide) for row in status.agents]
    merges = [_merge(row, now) for row in status.seen.merges]
    last = ("last sign", True) if is_wide else ("", True)
    return [
        Section(
            "Agents",
            (("", True), ("state", False), ("task", True), ("for", False), ("CPU", False), ("RAM", False), last),
            agents,
            len(agents),
        ),
        Section(
            "Open tasks",
            (("", True), ("state", False), ("try", False), ("for", False), ("what", True)),
            [_task(line) for line in picture.tasks],
            picture.open_tasks,
        ),
        Section("Merges", (("", True), ("state", False), ("into", True), ("what", True)), merges, len(merges)),
        Section(
            "Messages not read",
            (("", True), ("to", True), ("type", False), ("age", False)),
            [_message(row, now) for row in picture.messages],
            status.unread,
        ),
    ]


def _agent(row: AgentNow, now: str, *, is_wide: bool) -> list[Text | IdCell]:
    view = row.view
    state = state_of(row)
    sign = lasted(clock.seconds_between(view.last_heartbeat, now)) + " ago" if view.last_heartbeat else "none yet"
    return [
        IdCell(view.agent_id),
        _cell(state, STYLES.get(state, "")),
        IdCell(view.task_id or "-"),
        _cell("-" if view.uptime_seconds is None else lasted(view.uptime_seconds)),
        _cell("-" if row.cpu_percent is None else f"{row.cpu_percent:.0f} %"),
        _cell("-" if row.memory_mb is None else f"{row.memory_mb:.0f} MB"),
        _cell(row.note or (sign if is_wide else "")),
    ]


def _task(line: Line) -> list[Text | IdCell]:
    return [
        IdCell(line.task_id),
        _cell(line.state, STYLES.get(line.state, "red" if line.state == "review" else "")),
        _cell(str(line.attempt or "-")),
        _cell("-" if line.seconds is None else lasted(line.seconds)),
        _cell(line.note or line.title),
    ]


def _merge(row: MergeView, now: str) -> list[Text | IdCell]:
    later = row.waits_until is not None and row.waits_until > now
    wait = f"again in {lasted(clock.seconds_between(now, row.waits_until or now))}: " if later else ""
    said = wait + "".join((row.error or "").splitlines()[:1])
    return [IdCell(f"{row.position}. {row.task_id}"), _cell(row.status, STYLES.get(row.status, "")),
            _cell(row.target_branch), _cell(said)]  # fmt: skip


def _message(row: Row, now: str) -> list[Text | IdCell]:
    age = lasted(clock.seconds_between(row["created_at"], now))
    return [IdCell(row["from_agent"]), IdCell(row["to_agent"]), _cell(row["message_type"]), _cell(age)]


def _cell(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
