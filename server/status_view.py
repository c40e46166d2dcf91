"""What ``crewyard status`` prints: fitted to a terminal, plain and whole for a pipe.

The lines are made without rich's console, which takes as long to import as the whole look: only a terminal needs it.
"""

import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from . import clock, names, wording
from .overview import DispatchView, HoldView, MergeView, Overview

if TYPE_CHECKING:
    from rich.console import Console

    from .status import AgentNow, Status
    from .workflows.standing import QueueView

STYLES = {
    "completed": "green", "in_progress": "cyan", "running": "cyan", "assigned": "yellow", "starting": "yellow",
    "ready": "bold", "failed": "red", "cancelled": "dim", "pending": "dim", "checking": "blue", "queued": "blue",
    "active": "cyan", "paused": "yellow", "asks": "bold yellow", "waiting": "yellow", "running?": "red",
    "starting?": "red",
}  # fmt: skip

Part = tuple[str, str]
Line = list[Part]  # texts, each with its style


def print_status(status: "Status", console: "Console | None" = None) -> None:
    """The yard at a glance, on a terminal each row in one line."""
    lines = lines_of(status)
    if console is None and not sys.stdout.isatty():
        sys.stdout.write("".join("".join(text for text, _ in line) + "\n" for line in lines))
        return
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    for line in lines:
        text = Text.assemble(*line)
        if text.plain.startswith("  "):
            text.truncate(console.width, overflow="ellipsis")
        console.print(text, soft_wrap=text.plain.startswith("  "))


def lines_of(status: "Status") -> list[Line]:
    """The yard, line by line; those that begin with two blanks are rows."""
    seen = status.seen
    lines = lines_of_state(status)
    lines += _alerts(status)
    lines += _needs(status)
    waits = [
        [each.task_id, f"attempt {each.attempt}", f"in {_between(seen.at, each.until)}: {each.because}"]
        for each in status.delays
    ]
    lines += _section("Waiting for their restart", waits)
    lines += _workflows(status)
    lines += _section("Dispatches", [_dispatch_row(row, seen.at) for row in seen.dispatches])
    most = f"/{status.agents_max}" if status.agents_max else ""
    lines += _section(
        f"Agents, {status.agents_running}{most} running", [agent_row(row, seen.at) for row in status.agents]
    )
    lines += _section("Merge queue", [_merge_row(row, seen.at) for row in seen.merges])
    if status.unread:
        lines += [[("", "")], [(f"Messages      {status.unread} not read yet by agents at work", "")]]
    return lines


def _alerts(status: "Status") -> list[Line]:
    """What the administrators were warned of, until it is over."""
    found = status.workflows.alerts if status.workflows else []
    return [
        [(f"Alert         {each.level}, {each.subject}: {wording.stopped(each.cause)}", "bold red")] for each in found
    ]


def _workflows(status: "Status") -> list[Line]:
    seen = status.workflows
    if seen is None:
        return []
    flow = counted({state: many for state, many in seen.projects.items() if many}) or "no projects yet"
    success = "none ended" if seen.success_percent is None else f"{seen.success_percent:g} % ended without review"
    hours = "no project completed" if seen.pipeline_hours is None else f"{seen.pipeline_hours:g} h from end to end"
    rows = [
        [
            each.workflow,
            f"{each.waiting} waiting",
            f"{each.working} in work",
            f"{each.done_last_day} done in a day",
            f"workers: {counted(each.workers) or 'none'}",
            "; ".join(_troubles(each)),
        ]
        for each in seen.queues
    ]
    return _section(f"Workflows: {flow}; last day: {success}, {hours}", rows)


def _troubles(queue: "QueueView") -> list[str]:
    found = [f"{many} {what}" for many, what in ((queue.review, "in review"), (queue.held, "held")) if many]
    if queue.longest_wait_seconds is not None:
        found.append(f"longest wait {lasted(queue.longest_wait_seconds)}")
    return found


def _needs(status: "Status") -> list[Line]:
    """Each with what to type below it, where no screen is too narrow for it."""
    lines: list[Line] = []
    for line, each in zip(_section("Needs a person", [[e.subject, e.what] for e in status.needs])[2:], status.needs,
                          strict=True):  # fmt: skip
        lines += [line, [("  ", ""), (f"    → {each.call}", "bold")]]
    return [[("", "")], [("Needs a person", "bold")], *lines] if lines else []


def lines_of_state(status: "Status") -> list[Line]:
    """What there is to say of the yard as a whole."""
    lines = [[(f"Note          {note}", "yellow")] for note in status.notes] + _tasks(status.seen)
    if status.left_ready:
        ready = f"Ready         {number(status.left_ready, 'task')} that nobody works off: `crewyard run PLAN` does"
        lines.append([(ready, "yellow")])
    return [*lines, *_processes(status), *_holds(status.seen.holds, status.configured)]


def _tasks(seen: Overview) -> list[Line]:
    total = sum(seen.tasks.values())
    if not total:
        return [[("The plan is empty. `crewyard run PLAN` imports a plan and works it off.", "")]]
    return [[(f"Tasks         {total}: {counted({state: many for state, many in seen.tasks.items() if many})}", "")]]


def _processes(status: "Status") -> list[Line]:
    lease, daemon = status.seen.supervisor, status.daemon
    lines = [[("Daemon        none: `crewyard start` starts it", "dim")]]
    if daemon is not None:
        lines = [[(f"Daemon        process {daemon.pid}, {daemon.url}, for {lasted(daemon.uptime_seconds)}", "")]]
    if lease is not None and lease.is_held:
        which = " (the daemon)" if daemon is not None and daemon.pid == lease.pid else ""
        age = "" if status.supervisor_uptime_seconds is None else f", for {lasted(status.supervisor_uptime_seconds)}"
        return [*lines, [(f"Supervisor    process {lease.pid}{which}{age}", "")]]
    if status.seen.dispatches or status.agents:
        return [*lines, [(f"Supervisor    none: {_who_goes_on(status.seen.dispatches)}", "yellow")]]
    return [*lines, [("Supervisor    none, and nothing to supervise", "")]]


def _who_goes_on(dispatches: list[DispatchView]) -> str:
    """A paused dispatch is resumed by whoever asks for its tasks; an active one by any supervisor."""
    if all(row.status == "paused" for row in dispatches):
        return "`crewyard run PLAN` goes on where it was interrupted"
    return "`crewyard start`, `run PLAN` or `serve` goes on"


def _holds(holds: list[HoldView], configured: Collection[str]) -> list[Line]:
    """Those of built-in types that were left out of a start tell a person nothing: nobody asked for them."""
    lines: list[Line] = []
    for hold in holds:
        if hold.reason == "not_started" and hold.scope in names.BUILT_IN and hold.scope not in configured:
            continue
        whom = "No agent is" if hold.scope == "*" else f"No {hold.scope} is"
        until = f" until {clock.local_time(hold.until)}" if hold.until else ""
        if hold.reason == "cpu":
            whom, until = (
                "One agent at a time is",
                f", the next at {clock.local_time(hold.until)}" if hold.until else "",
            )
        said = f"{whom} started{until}: {hold.message}"
        if hold.reason == "not_logged_in":  # whose message says all that
            said = wording.sentence(hold.message)
        lines.append([(f"Held          {said}", "yellow")])
    return lines


def _dispatch_row(row: DispatchView, now: str) -> list[str]:
    work = f"{number(row.tasks, 'task')}, {row.agents_at_work} of {row.max_parallel} agents at work"
    return [row.dispatch_id, row.status, f"{work}, for {_between(row.created_at, now)}"]


def state_of(row: "AgentNow") -> str:
    if row.note:
        return f"{row.view.status}?"
    return "asks" if row.waits_for_answer else row.view.status


def agent_row(row: "AgentNow", now: str) -> list[str]:
    view = row.view
    sign = f"last sign {_between(view.last_heartbeat, now)} ago" if view.last_heartbeat else "no sign yet"
    tries = f", {number(view.restarts, 'restart')}" if view.restarts else ""
    return [
        view.agent_id,
        state_of(row),
        view.task_id or "",
        f"pid {view.pid or '-'}",
        "-" if view.uptime_seconds is None else lasted(view.uptime_seconds),
        f"CPU {'-' if row.cpu_percent is None else f'{row.cpu_percent:.1f} %'}",
        f"RAM {'-' if row.memory_mb is None else f'{row.memory_mb:.0f} MB'}",
        row.note or sign + tries,
    ]


def _merge_row(row: MergeView, now: str) -> list[str]:
    wait = f"again in {_between(now, row.waits_until)}: " if row.waits_until and row.waits_until > now else ""
    first = (row.error or "").splitlines()[:1]
    return [f"{row.position}. {row.task_id}", row.status, f"into {row.target_branch}", wait + "".join(first)]


def _section(name: str, rows: list[list[str]]) -> list[Line]:
    """A heading and its rows, in columns; the second may be a state."""
    if not rows:
        return []
    widths = [max(cell_len(text) for text in column) for column in zip(*rows, strict=True)]
    lines: list[Line] = [[("", "")], [(name, "bold")]]
    for row in rows:
        last = max((index for index, text in enumerate(row) if text), default=0)
        cells = [set_cell_size(text, width) for text, width in zip(row[:last], widths, strict=False)] + [row[last]]
        parts = [(f"{text}  ", STYLES.get(row[index], "") if index == 1 else "") for index, text in enumerate(cells)]
        parts[-1] = (parts[-1][0].rstrip(), parts[-1][1])
        lines.append([("  ", ""), *parts])
    return lines


# --------------------------------------------------------------------------------------------------- words


def counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{many} {name.replace('_', ' ')}" for name, many in numbers.items())


def number(many: int, noun: str) -> str:
    return f"{many} {wording.plural(noun, many)}"


def lasted(seconds: float) -> str:
    """As ``wording.lasted``, in whole seconds."""
    return f"{max(0.0, seconds):.0f} s" if seconds < 10 else wording.lasted(seconds)


def _between(since: str, until: str) -> str:
    return lasted(clock.seconds_between(since, until))
