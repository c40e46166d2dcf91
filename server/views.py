"""What ``crewyard plan show`` prints: fitted to a terminal, plain and whole for a pipe."""

from collections import deque

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from .graph import Graph, GraphTask
from .status_view import STYLES, counted, number

LONGEST_TITLE_TO_CUT = 24


def print_graph(graph: Graph) -> None:
    """The plan step by step: each task with its state and what it waits for; a step needs only those above it."""
    console = _console()
    if not graph.tasks:
        _say(console, "The plan is empty. `crewyard plan import PLAN` brings tasks in.")
        return
    blockers = _blockers(graph)
    widths = [max(cell_len(text) for text in column) for column in zip(*_ids_and_states(graph), strict=True)]
    for place, step in enumerate(_steps(graph), start=1):
        _say(console, f"step {place}", "dim")
        for task in step:
            _print_task(console, task, widths, blockers.get(task.task_id, []), task.task_id in graph.critical_path)
    states = [task.status for task in graph.tasks]
    told = counted({state: states.count(state) for state in dict.fromkeys(states)})
    _say(console, f"{number(len(graph.tasks), 'task')}: {told}. {number(len(graph.edges), 'dependency')}.")
    if graph.critical_path:
        hours = sum(task.estimated_hours for task in graph.tasks if task.task_id in graph.critical_path)
        _say(console, f"* the longest way through what is open, {hours:g} h: {' → '.join(graph.critical_path)}")


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
