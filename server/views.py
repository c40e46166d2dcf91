"""What ``crewyard status`` and ``crewyard plan show`` print: fitted to a terminal, plain and whole for a pipe."""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from . import clock
from .graph import Graph, GraphTask
from .overview import DispatchView, MergeView, Overview

if TYPE_CHECKING:
    from .status import AgentNow, Status

STYLES = {
    "completed": "green", "in_progress": "cyan", "running": "cyan", "assigned": "yellow", "starting": "yellow",
    "ready": "bold", "failed": "red", "cancelled": "dim", "pending": "dim", "checking": "blue", "queued": "blue",
    "active": "cyan", "paused": "yellow", "running?": "red", "starting?": "red",
}  # fmt: skip
LONGEST_TITLE_TO_CUT = 24


def print_status(status: "Status", console: Console | None = None) -> None:
    """The yard at a glance."""
    console = console or _console()
    seen = status.seen
    _print_tasks(console, seen)
    _print_processes(console, status)
    for hold in seen.holds:
        whom = "No agent" if hold.scope == "*" else f"No {hold.scope}"
        until = f" until {clock.local_time(hold.until)}" if hold.until else ""
        _say(console, f"Held          {whom} is started{until}: {hold.message}", "yellow")
    _section(console, "Dispatches", [_dispatch_row(row, seen.at) for row in seen.dispatches], state=1)
    heading = f"Agents, {status.agents_running}/{len(status.agents)} running"
    _section(console, heading, [_agent_row(row, seen.at) for row in status.agents], state=1)
    _section(console, "Merge queue", [_merge_row(row, seen.at) for row in seen.merges], state=1)
    waiting = {state: number for state, number in seen.messages.items() if number and state in ("pending", "delivered")}
    if waiting:
        _say(console, f"Messages      {_counted(waiting)}")


def print_graph(graph: Graph) -> None:
    """The plan step by step: each task with its state and what it waits for; a step needs only those above it."""
    console = _console()
    if not graph.tasks:
        _say(console, "The plan is empty. `crewyard plan import PLAN` brings tasks in.")
        return
    blockers = _blockers(graph)
    widths = [max(cell_len(text) for text in column) for column in zip(*_ids_and_states(graph), strict=True)]
    for number, step in enumerate(_steps(graph), start=1):
        _say(console, f"step {number}", "dim")
        for task in step:
            _print_task(console, task, widths, blockers.get(task.task_id, []), task.task_id in graph.critical_path)
    states = [task.status for task in graph.tasks]
    counted = _counted({state: states.count(state) for state in dict.fromkeys(states)})
    _say(console, f"{_number(len(graph.tasks), 'task')}: {counted}. {_number(len(graph.edges), 'dependency')}.")
    if graph.critical_path:
        hours = sum(task.estimated_hours for task in graph.tasks if task.task_id in graph.critical_path)
        _say(console, f"* the longest way through what is open, {hours:g} h: {' → '.join(graph.critical_path)}")


# ------------------------------------------------------------------------------------------------ overview


def _print_tasks(console: Console, seen: Overview) -> None:
    total = sum(seen.tasks.values())
    if not total:
        _say(console, "The plan is empty. `crewyard run PLAN` imports a plan and works it off.")
        return
    counted = _counted({state: number for state, number in seen.tasks.items() if number})
    _say(console, f"Tasks         {total}: {counted}")
    if seen.in_review:
        _say(console, f"In review     {', '.join(seen.in_review)}", "red")
        if not seen.dispatches:
            _say(console, "              They need a person; `crewyard run PLAN` tries them again.", "dim")


def _print_processes(console: Console, status: "Status") -> None:
    lease, daemon = status.seen.supervisor, status.daemon
    if daemon is not None:
        _say(console, f"Daemon        process {daemon.pid}, {daemon.url}, for {_duration(daemon.uptime_seconds)}")
    else:
        _say(console, "Daemon        none: `crewyard start` starts it", "dim")
    if lease is not None and lease.is_held:
        uptime = status.supervisor_uptime_seconds
        which = " (the daemon)" if daemon is not None and daemon.pid == lease.pid else ""
        age = "" if uptime is None else f", for {_duration(uptime)}"
        _say(console, f"Supervisor    process {lease.pid}{which}{age}")
    elif status.seen.dispatches or status.agents:
        _say(console, f"Supervisor    none: {_who_goes_on(status.seen.dispatches)}", "yellow")
    else:
        _say(console, "Supervisor    none, and nothing to supervise")


def _who_goes_on(dispatches: list[DispatchView]) -> str:
    """A paused dispatch is resumed by whoever asks for its tasks; an active one by any supervisor."""
    if all(row.status == "paused" for row in dispatches):
        return "`crewyard run PLAN` goes on where it was interrupted"
    return "`crewyard start`, `run PLAN` or `serve` goes on"


def _dispatch_row(row: DispatchView, now: str) -> list[str]:
    work = f"{_number(row.tasks, 'task')}, {row.agents_at_work} of {row.max_parallel} agents at work"
    return [row.dispatch_id, row.status, f"{work}, for {_lasted(row.created_at, now)}"]


def _agent_row(row: "AgentNow", now: str) -> list[str]:
    view = row.view
    sign = f"last sign {_lasted(view.last_heartbeat, now)} ago" if view.last_heartbeat else "no sign yet"
    tries = f", {_number(view.restarts, 'restart')}" if view.restarts else ""
    return [
        view.agent_id,
        f"{view.status}?" if row.note else view.status,
        view.task_id or "",
        f"pid {view.pid or '-'}",
        "-" if view.uptime_seconds is None else _duration(view.uptime_seconds),
        f"CPU {'-' if row.cpu_percent is None else f'{row.cpu_percent:.1f} %'}",
        f"RAM {'-' if row.memory_mb is None else f'{row.memory_mb:.0f} MB'}",
        row.note or sign + tries,
    ]


def _merge_row(row: MergeView, now: str) -> list[str]:
    wait = f"again in {_lasted(now, row.waits_until)}: " if row.waits_until and row.waits_until > now else ""
    first = (row.error or "").splitlines()[:1]
    return [f"{row.position}. {row.task_id}", row.status, f"into {row.target_branch}", wait + "".join(first)]


def _section(console: Console, name: str, rows: list[list[str]], *, state: int) -> None:
    """A heading and its rows, in columns; on a terminal each row is one line."""
    if not rows:
        return
    _say(console, f"\n{name}", "bold")
    widths = [max(cell_len(text) for text in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text("  ")
        for index, (text, width) in enumerate(zip(row, widths, strict=True)):
            line.append(set_cell_size(text, width), STYLES.get(text, "") if index == state else "")
            line.append("  ")
        line.rstrip()
        if console.is_terminal:
            line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)


# --------------------------------------------------------------------------------------------------- graph


def _steps(graph: Graph) -> list[list[GraphTask]]:
    """Tasks by the length of the longest chain of blockers before them; tasks on a circle come last."""
    waits = {task.task_id: 0 for task in graph.tasks}
    after: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.type == "hard":
            waits[edge.dependent] += 1
            after.setdefault(edge.blocking, []).append(edge.dependent)
    step = dict.fromkeys((task_id for task_id, number in waits.items() if number == 0), 0)
    free = deque(step)
    while free:
        task_id = free.popleft()
        for dependent in after.get(task_id, ()):
            step[dependent] = max(step.get(dependent, 0), step[task_id] + 1)
            waits[dependent] -= 1
            if waits[dependent] == 0:
                free.append(dependent)
    last = max(step.values(), default=-1) + 1
    found: list[list[GraphTask]] = [[] for _ in range(last + 1)]
    for task in graph.tasks:
        found[last if waits[task.task_id] else step[task.task_id]].append(task)
    return [tasks for tasks in found if tasks]


def _blockers(graph: Graph) -> dict[str, list[str]]:
    """For each task what it waits for; a soft dependency in brackets, since it only orders."""
    found: dict[str, list[str]] = {}
    for edge in graph.edges:
        found.setdefault(edge.dependent, []).append(edge.blocking if edge.type == "hard" else f"({edge.blocking})")
    return found


def _ids_and_states(graph: Graph) -> list[tuple[str, str]]:
    return [(task.task_id, task.status) for task in graph.tasks]


def _print_task(console: Console, task: GraphTask, widths: list[int], blockers: list[str], is_critical: bool) -> None:
    line = Text("* " if is_critical else "  ")
    line.append(f"{set_cell_size(task.task_id, widths[0])}  ")
    line.append(set_cell_size(task.status, widths[1]), STYLES.get(task.status, ""))
    room = max(console.width - cell_len(line.plain) - 2, LONGEST_TITLE_TO_CUT) if console.is_terminal else None
    title = Text(f"  {task.title}")
    arrows = f"← {', '.join(blockers)}" if blockers else ""
    if room is not None:
        title.truncate(room + 2, overflow="ellipsis")
    fits = room is None or cell_len(title.plain) + cell_len(arrows) + 2 <= room + 2
    line.append(title)
    if arrows and fits:
        line.append(f"  {arrows}", "dim")
    console.print(line, soft_wrap=True)
    if arrows and not fits:
        indent = 2 + widths[0] + 2
        for part in Text(arrows, "dim").wrap(console, max(console.width - indent - 2, LONGEST_TITLE_TO_CUT)):
            console.print(Text(" " * indent) + part, soft_wrap=True)


# --------------------------------------------------------------------------------------------------- words


def _console() -> Console:
    return Console(highlight=False)


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in numbers.items())


def _number(number: int, noun: str) -> str:
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"


def _lasted(since: str, until: str) -> str:
    return _duration(clock.seconds_between(since, until))


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
