"""An activity summary as Markdown: the same figures as its JSON, for people (R-153, R-156). Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .summary import MARK
from .summary_levels import ROWS, Level
from .wording import counted, cut, lasted

WORDS = {
    "dependencies": "waiting for dependencies",
    "slot": "waiting for a slot",
    "working": "agents at work",
    "proving": "evidence and the task's check",
    "approval": "waiting for an approval",
    "merging": "merge queue, merge and its check",
    "restart": "waiting for a restart",
    "unsupervised": "nobody supervising",
    "paused": "paused",
}
NO_DATA = "no data"
Figures = Mapping[str, Any]


def to_markdown(figures: Figures, level: Level) -> str:
    """The document; the longer its lists the higher the level."""
    most = ROWS[level]
    sections = [
        _head(figures),
        _executive(figures),
        _tasks(figures, most),
        *([_time(figures), _path(figures["critical_path"], most)] if level != "summary" else []),
        _agents(figures),
        _resources(figures["resources"]),
        _bottlenecks(figures["bottlenecks"], most),
        _errors(figures["errors"], most),
        _timeline(figures["timeline"], most),
        _section("Next steps", [f"- {_text(step)}" for step in figures["next_steps"]] or ["Nothing calls for action."]),
    ]
    return "\n".join(sections)


def _head(figures: Figures) -> str:
    covered = figures["range"]
    return f"<!-- {MARK} -->\n# Activity summary: {covered['name']}\n\n{covered['since']} to {covered['until']} (UTC)\n"


def _executive(figures: Figures) -> str:
    states, done = figures["summary"], figures["performance"]
    if not states["total"]:
        return _section("Executive summary", ["No task was open or ended in this range."])
    lines = [
        f"- {counted(states['completed'], 'task')} completed, {states['failed']} failed, {states['running']} running, "
        f"{states['pending']} pending, of {states['total']:,}.",
        f"- Success rate {_known(states['success_rate'], ' %')}{_rate(done)}.",
    ]
    if not done["tells_speed"]:
        lines.append(f"- Too little to tell how fast the crew is: {_hours(done['elapsed_hours'])}{_simulated(done)}.")
    elif done["speed_up"] is not None:
        low, high = done["target_speed_up"]
        lines.append(
            f"- {_hours(done['total_hours'])} of agents' work in {_hours(done['elapsed_hours'])}: {done['speed_up']:g} "
            f"times as fast as one after another (target {low:g} to {high:g}){_simulated(done)}."
        )
    if figures["bottlenecks"]:
        lines.append(f"- Largest bottleneck: {_text(figures['bottlenecks'][0]['issue'])}.")
    return _section("Executive summary", lines)


def _rate(done: Figures) -> str:
    return f"; {_known(done['tasks_per_hour'])} tasks an hour" if done["tells_speed"] else ""


def _simulated(done: Figures) -> str:
    simulated, attempts = done["simulated_agents"], counted(done["attempts"], "attempt")
    return f"; {simulated} of {attempts} by the built-in simulated agent" if simulated else ""


def _tasks(figures: Figures, most: int) -> str:
    states, done = figures["summary"], figures["performance"]
    counts = [[name, str(states[name])] for name in ("completed", "running", "failed", "pending", "cancelled")]
    lines = [
        *_table(("Status", "Tasks"), counts, 9),
        "",
        f"- Efficiency {_known(done['efficiency'])}, {_hours(done['avg_hours_per_task'])} of work a completed task.",
        f"- Fastest: {_extreme(done['fastest_task'])}; slowest: {_extreme(done['slowest_task'])}.",
        f"- {counted(done['attempts'], 'attempt')}, {counted(done['retries'], 'retry')}.",
        f"- Merges: {', '.join(f'{number} {state}' for state, number in list(figures['merges'].items())[:3])}.",
    ]
    if most > ROWS["summary"] and figures["tasks"]:
        rows = [
            [each["task_id"], each["title"], each["status"], str(each["attempts"]), lasted(each["work_seconds"]),
             lasted(each["total_seconds"])]
            for each in figures["tasks"]
        ]  # fmt: skip
        lines += ["", *_table(("Task", "Title", "Status", "Attempts", "Work", "In hand"), rows, most)]
    return _section("Task performance", lines)


def _time(figures: Figures) -> str:
    total = sum(figures["time_seconds"].values())
    rows = [
        [WORDS[phase], lasted(seconds), f"{100 * seconds / total:.0f} %"]
        for phase, seconds in figures["time_seconds"].items()
        if seconds
    ]
    return _section("Where the time went", _table(("All tasks together", "Time", "Share"), rows, 9) if rows else [])


def _path(path: Figures, most: int) -> str:
    links = path["links"]
    if not links:
        return _section("Critical path taken", ["No task was completed."])
    longest = sorted(range(len(links)), key=lambda each: -links[each]["seconds"])[:most]
    rows = [
        [_when(link["began"]), link["task_id"], _waited(link), lasted(link["seconds"])]
        for link in map(links.__getitem__, sorted(longest))
    ]
    intro = f"{lasted(path['seconds'])} in {counted(len(links), 'link')}; these took longest:"
    return _section("Critical path taken", [intro, "", *_table(("From", "Task", "What", "Time"), rows, most)])


def _waited(link: Figures) -> str:
    return WORDS[link["phase"]] + (f" ({link['waited_for']})" if "waited_for" in link else "")


def _agents(figures: Figures) -> str:
    rows = [
        [name, *(str(each[state]) for state in ("launched", "completed", "failed", "timeout", "killed", "lost")),
         _hours(each["uptime_hours"]), _known(each["uptime_percent"], " %"), _tokens(each)]
        for name, each in figures["agents"].items()
    ]  # fmt: skip
    heads = ("Type", "Launched", "Completed", "Failed", "Timed out", "Ended", "Lost", "Uptime", "Present", "Tokens")
    return _section("Agent activity", _table(heads, rows, 20) if rows else ["No agent was at work."])


def _tokens(each: Figures) -> str:
    if not each["reported_by"]:
        return NO_DATA
    cost = "" if each["cost_usd"] is None else f", ${each['cost_usd']:,.2f}"
    return f"{each['input_tokens']:,} in, {each['output_tokens']:,} out{cost}"


def _resources(figures: Figures) -> str:
    rows = []
    for name in ("cpu", "memory", "swap", "disk"):
        each = figures[name]
        if each is None:
            rows.append([name, NO_DATA, NO_DATA, NO_DATA])
        else:
            trend = f"{each['trend']} ({each['change']:+g} points)"
            rows.append([name, f"{each['average']:g} %", f"{each['maximum']:g} %", trend])
    return _section("Resource utilisation", _table(("Resource", "Average", "Maximum", "Trend"), rows, 9))


def _bottlenecks(found: Sequence[Figures], most: int) -> str:
    lines = []
    for each in found[:most]:
        named = ", ".join(each["affected_tasks"][:5])
        tasks = f" Tasks: {_text(named)}{', …' if len(each['affected_tasks']) > 5 else ''}." if named else ""
        lines.append(f"- **{_text(each['issue'])}** ({each['severity']}). {_text(each['impact'])}{tasks}")
        lines.append(f"  → {_text(each['recommendation'])}")
    return _section("Bottlenecks", lines or ["None was found."])


def _errors(figures: Figures, most: int) -> str:
    if not figures["total"]:
        return _section("Errors", ["None was recorded."])
    graded = ", ".join(f"{number} {severity}" for severity, number in figures["by_severity"].items())
    intro = f"{counted(figures['total'], 'error')} ({graded}), {figures['unresolved']} unresolved."
    rows = [
        [_when(each["at"]), each["task_id"], each["error_class"], each["severity"], each["status"], each["message"]]
        for each in figures["recent"]
    ]
    heads = ("At", "Task", "Class", "Severity", "Now", "What it said")
    return _section("Errors", [intro, "", *_table(heads, rows, most)])


def _timeline(marks: Sequence[Figures], most: int) -> str:
    """The latest, in their order."""
    rows = [[_when(mark["at"]), mark["task_id"], mark["what"]] for mark in marks[:most]][::-1]
    left = len(marks) - len(rows)
    before = [f"{left} earlier ones are left out here.", ""] if left else []
    return _section("Timeline", [*before, *_table(("At", "Task", "What"), rows, most)] if rows else ["Nothing."])


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"## {title}", "", *lines, ""])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[str]:
    shown = [f"| {' | '.join(map(_text, row))} |" for row in rows[:most]]
    left = [f"\n… and {len(rows) - most} more."] if len(rows) > most else []
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *shown, *left]


def _text(text: str) -> str:
    """Somebody else's words as plain text of one line."""
    line = " ".join(cut(text, 240).split())
    return line.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _when(at: str) -> str:
    return at[5:19].replace("T", " ")


def _extreme(found: Figures | None) -> str:
    return NO_DATA if found is None else f"{_text(found['task_id'])} ({lasted(found['work_seconds'])})"


def _hours(hours: float | None) -> str:
    return NO_DATA if hours is None else lasted(3600 * hours)


def _known(value: float | None, unit: str = "") -> str:
    return NO_DATA if value is None else f"{value:,.6g}{unit}"
