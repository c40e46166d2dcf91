"""A picture of who worked on what and when, as SVG: bars are attempts, thin lines are waits. Pure.

Up to LANES tasks have a row each; more share rows, those that follow each other in one.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .facts import Activity, Task
from .makespan import critical_path
from .phases import Span
from .summary import MARK
from .wording import counted, cut, lasted

LANES = 60
MOST = 600
WIDTH, LEFT, RIGHT, TOP, ROW = 1200, 200, 24, 112, 22
BAR, THIN = 14, 4
LETTER = 6.4  # the usual width of one at 11 px
OUTCOMES = {
    "completed": "#2f9e63", "running": "#3b7dd8", "failed": "#d64545", "timeout": "#e0871b", "killed": "#7d8590",
    "lost": "#8e5bd0",
}  # fmt: skip
WAITS = {
    "dependencies": ("#b9c0ca", "waits for dependencies"),
    "slot": ("#e9b949", "waits for a slot"),
    "restart": ("#f0a3a3", "waits for a restart"),
    "proving": ("#9ad1c4", "evidence"),
    "merging": ("#4fb3bf", "merge queue"),
    "approval": ("#c39bd3", "waits for an approval"),
    "unsupervised": ("#9aa5b1", "unsupervised"),
    "paused": ("#e4e7eb", "paused"),
}
INK, FAINT, GRID, CRITICAL = "#1f2933", "#616e7c", "#e4e7eb", "#1f2933"
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)
MARKS = {"merged": "#14532d", "conflicted": "#d64545", "rejected": "#d64545"}
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Scale:
    begin: int
    end: int

    def x(self, moment: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (moment - self.begin) / (self.end - self.begin)


def to_svg(activity: Activity) -> str:
    """The picture; its size is bounded however many tasks there are."""
    tasks = sorted((task for task in activity.tasks if _began(task) is not None), key=lambda task: _began(task) or 0)
    lanes, left = _lanes(tasks[:MOST])
    left += len(tasks[MOST:])
    shown = [task for lane in lanes for task in lane]
    scale = _scale(shown, activity, whole=len(tasks) <= LANES)
    height = TOP + ROW * max(1, len(lanes)) + 40
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {height}",
                              "width": str(WIDTH), "height": str(height), "role": "img",
                              "font-family": "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"})  # fmt: skip
    root.append(ET.Comment(f" {MARK} "))
    _child(root, "title", text="Agents and tasks over time")
    _child(root, "rect", width=WIDTH, height=height, fill="#ffffff")
    _heading(root, activity, tasks)
    _legend(root)
    _axis(root, scale, height - 40)
    if not lanes:
        _text(root, LEFT, TOP + 16, "No agent was at work in this range.", fill=FAINT)
    path = {(link.task_id, link.begin, link.end) for link in critical_path(activity.tasks, activity.blockers)}
    for number, lane in enumerate(lanes):
        _lane(root, activity, lane, scale, TOP + ROW * number, number, path)
    if left:
        _text(root, LEFT, height - 14, f"{counted(left, 'task')} more are not shown.", fill=FAINT)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _began(task: Task) -> int | None:
    return next((span.begin for span in task.spans if span.phase == "working"), None)


def _lanes(tasks: Sequence[Task]) -> tuple[list[list[Task]], int]:
    """The tasks row by row, and how many found no place."""
    if len(tasks) <= LANES:
        return [[task] for task in tasks], 0
    lanes: list[list[Task]] = []
    left = 0
    for task in tasks:
        lane = next((lane for lane in lanes if lane[-1].spans[-1].end <= (_began(task) or 0)), None)
        if lane is not None:
            lane.append(task)
        elif len(lanes) < LANES:
            lanes.append([task])
        else:
            left += 1
    return lanes, left


def _scale(tasks: Sequence[Task], activity: Activity, *, whole: bool) -> _Scale:
    if not tasks:
        return _Scale(activity.since, max(activity.until, activity.since + 1))
    begins = [task.spans[0].begin if whole else _began(task) or 0 for task in tasks]
    end = max(task.spans[-1].end for task in tasks)
    return _Scale(min(begins), max(end, min(begins) + 1))


def _heading(root: ET.Element, activity: Activity, tasks: Sequence[Task]) -> None:
    states = [task.status for task in tasks]
    told = [f"{states.count(state)} {state}" for state in ("completed", "failed") if state in states]
    attempts = counted(len(activity.agents), "attempt")
    _text(root, 24, 32, f"{counted(len(tasks), 'task')} in {attempts}: {', '.join(told) or 'none ended yet'}",
          size=18, weight="600")  # fmt: skip
    worked = sum(task.spent("working") for task in tasks)
    since, until = (_moment(moment).strftime("%Y-%m-%d %H:%M:%S") for moment in (activity.since, activity.until))
    _text(root, 24, 52, f"{since} to {until} UTC; {lasted(worked / 1000)} of agents' work", fill=FAINT)


def _legend(root: ET.Element) -> None:
    entries = [(colour, name, BAR - 4) for name, colour in OUTCOMES.items()]
    entries += [(colour, name.removeprefix("waits for "), THIN) for colour, name in WAITS.values()]
    x = 24.0
    for colour, name, thickness in entries:
        _child(root, "rect", x=x, y=68 - thickness / 2, width=14, height=thickness, rx=1, fill=colour)
        _text(root, x + 18, 72, name, size=10, fill=FAINT)
        x += 18 + 5.4 * len(name) + 12
    x = 24.0
    for colour, name in ((MARKS["merged"], "merged"), (MARKS["conflicted"], "conflict or failed check")):
        _diamond(root, x + 7, 84, colour)
        _text(root, x + 18, 88, name, size=10, fill=FAINT)
        x += 18 + 5.4 * len(name) + 12
    _child(root, "line", x1=x, y1=84, x2=x + 14, y2=84, stroke=CRITICAL, stroke_width=2)
    _text(root, x + 18, 88, "critical path taken", size=10, fill=FAINT)


def _axis(root: ET.Element, scale: _Scale, bottom: float) -> None:
    seconds = (scale.end - scale.begin) / 1000
    step = next((step for step in STEPS if seconds / step <= 10), STEPS[-1] * (1 + int(seconds / STEPS[-1] / 10)))
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%b %d"
    moment = -(-scale.begin // (1000 * step)) * 1000 * step
    while moment <= scale.end:
        x = scale.x(moment)
        _child(root, "line", x1=x, y1=TOP - 4, x2=x, y2=bottom, stroke=GRID)
        _text(root, x, TOP - 8, _moment(moment).strftime(form), size=10, fill=FAINT, anchor="middle")
        moment += 1000 * step


def _lane(
    root: ET.Element, activity: Activity, lane: Sequence[Task], scale: _Scale, y: float, number: int,
    path: set[tuple[str, int, int]],
) -> None:  # fmt: skip
    alone = len(lane) == 1
    name = lane[0].task_id if alone else f"row {number + 1}: {counted(len(lane), 'task')}"
    label = _text(root, LEFT - 10, y + 15, cut(name, 28), anchor="end")
    _child(label, "title", text=f"{lane[0].task_id}: {lane[0].title}" if alone else name)
    for task in lane:
        outcomes = {agent.agent_id: agent.status for agent in activity.agents_of(task.task_id)}
        for span in _drawn(task, alone=alone):
            _span(root, task, span, outcomes.get(span.agent_id, "running"), scale, y)
        for task_id, begin, end in path:
            if task_id == task.task_id and end > scale.begin:
                _child(root, "line", x1=scale.x(max(begin, scale.begin)), x2=scale.x(end), y1=y + 19.5, y2=y + 19.5,
                       stroke=CRITICAL, stroke_width=2)  # fmt: skip
        for merge in activity.merges:
            if merge.task_id == task.task_id and merge.status in MARKS:
                mark = _diamond(root, scale.x(min(merge.at, scale.end)), y + 11, MARKS[merge.status])
                _child(mark, "title", text=f"{merge.task_id}: {merge.status}. {cut(merge.message, 200)}")


def _drawn(task: Task, *, alone: bool) -> Iterator[Span]:
    """In a row that is shared, what came before its work is left out: another task stands there."""
    began = _began(task) or 0
    return (span for span in task.spans if alone or span.begin >= began)


def _span(root: ET.Element, task: Task, span: Span, outcome: str, scale: _Scale, y: float) -> None:
    is_work = span.phase == "working"
    colour = OUTCOMES.get(outcome, OUTCOMES["running"]) if is_work else WAITS[span.phase][0]
    told = f"{span.agent_id}: {outcome}" if is_work else WAITS[span.phase][1]
    thick = BAR if is_work else THIN
    x, width = scale.x(span.begin), max(1.0, scale.x(span.end) - scale.x(span.begin))
    bar = _child(root, "rect", x=x, y=y + 11 - thick / 2, width=width, height=thick, rx=2 if is_work else 0,
                 fill=colour)  # fmt: skip
    _child(bar, "title", text=f"{task.task_id}: {task.title}\n{told}, {lasted(span.length / 1000)}")
    inside = task.task_id
    if is_work and width > LETTER * len(inside) + 8:
        _text(root, x + 4, y + 15, inside, fill="#ffffff", size=10)


def _diamond(root: ET.Element, x: float, y: float, colour: str) -> ET.Element:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in ((x, y - 6), (x + 5, y), (x, y + 6), (x - 5, y)))
    return _child(root, "polygon", points=points, fill=colour, stroke="#ffffff")


def _text(
    root: ET.Element, x: float, y: float, text: str, *, size: int = 11, fill: str = INK, anchor: str = "start",
    weight: str = "400",
) -> ET.Element:  # fmt: skip
    return _child(root, "text", text=text, x=x, y=y, font_size=size, fill=fill, text_anchor=anchor, font_weight=weight)


def _child(parent: ET.Element, tag: str, *, text: str | None = None, **attributes: float | str) -> ET.Element:
    made = {
        name.replace("_", "-"): f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
        for name, value in attributes.items()
    }
    child = ET.SubElement(parent, tag, made)
    child.text = None if text is None else _NOT_XML.sub("\ufffd", text)
    return child


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
