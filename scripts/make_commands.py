"""Writes docs/commands/: a page for each of the fifteen commands, from code and from what the examples really answer.

``--run`` does the examples anew, in a throw-away repository with the built-in agent; without it the answers that the
pages hold are kept, and only what is said around them is made anew.
"""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crewyard import ClaudeAgentInvoker
from crewyard.server import commands
from crewyard.server.commands.base import Command

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "commands"
OUTPUT = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUERIES = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUERIES_SHOWN = 4
LONGEST_TEXT = 1_500
TASK = {"agent_type": "scripted", "spec_id": "SPEC-1"}
PLAN: dict[str, Any] = {
    "specs": [{"id": "SPEC-1", "title": "A small language"}],
    "tasks": [
        {
            "task_id": "parser",
            "title": "Parser",
            "priority": 2,
            "description": "```crew-script\nsleep 600\n```",
            **TASK,
        },
        {"task_id": "printer", "title": "Printer", "estimated_hours": 2, **TASK},
        {"task_id": "docs", "title": "Manual", **TASK},
        {"task_id": "design", "title": "Design", "priority": 8, **TASK},
        {"task_id": "release", "title": "Release", "depends_on": ["design"], **TASK},
        {"task_id": "lexer", "title": "Lexer", "priority": 9, **TASK},
        {"task_id": "broken", "title": "Broken", "priority": 9, "description": "```crew-script\nfail 3\n```", **TASK},
    ],
}
# The documents' flow (R-005), then what is looked at and what went wrong; a page shows its own examples in their order.
ORDER = (
    "find-available-work", "create-parallel-tasks", "create-worktree", "spawn-agent-session", "monitor-agent-lifecycle",
    "monitor-resource-usage", "merge-completed-work", "cleanup-worktrees", "kill-stalled-agent", "auto-restart-agent",
    "detect-deadlocks", "coordinate-dependencies", "route-inter-agent-messages", "handle-agent-errors",
    "generate-activity-summary",
)  # fmt: skip
WRITES = {
    sqlite3.SQLITE_INSERT: "INSERT", sqlite3.SQLITE_UPDATE: "UPDATE", sqlite3.SQLITE_DELETE: "DELETE",
}  # fmt: skip


@dataclass
class Seen:
    """What one command's examples did: their answers, and the tables and statements that were used for it."""

    outputs: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)


# ----------------------------------------------------------------------------------------------- running examples


@contextlib.contextmanager
def watched(seen: Seen) -> Iterator[None]:
    """Note the tables that every new connection reads and writes, and the questions that the command itself asks."""
    connect = sqlite3.connect

    def noted(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made = connect(*arguments, **options)

        def authorize(action: int, table: str | None, *_: str | None) -> int:
            if table and not table.startswith("sqlite_"):
                if action == sqlite3.SQLITE_READ:
                    seen.read.add(table)
                elif action in WRITES:
                    seen.written.add(table)
            return sqlite3.SQLITE_OK

        made.set_authorizer(authorize)
        made.set_trace_callback(lambda text: _note(seen, text))
        return made

    sqlite3.connect = noted  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect = connect


def _note(seen: Seen, text: str) -> None:
    if threading.current_thread().name.startswith("crewyard"):  # the supervisor's, not the command's
        return
    if text.startswith(("SELECT", "WITH")) and len(seen.queries) < 100:
        seen.queries.append(" ".join(text.split()))


def run_examples(repo: Path) -> dict[str, Seen]:
    """Every command's examples, in one story."""
    prepare(repo)
    invoker = ClaudeAgentInvoker(repo=repo)
    found, names = {}, {}
    for name in ORDER:
        command, seen = commands.get(name), Seen()
        if name == "merge-completed-work":
            names["finished"] = finished(invoker)
        if name == "auto-restart-agent":
            names["failed"] = failed(invoker, repo)
        for example in command.examples:
            given = {key: value.format_map(names) if value.startswith("{") and value.endswith("}") and value[1:-1] in
                     names else value for key, value in example.parameters.items()}  # fmt: skip
            with watched(seen):
                answer = invoker.invoke_command(name, given)
            if "agent_id" in answer and name == "spawn-agent-session" and answer["success"]:
                names["agent"] = answer["agent_id"]
            seen.outputs.append(shown(answer, repo))
            if answer.get("new_agent_id"):
                _wait_for_row(invoker, repo, answer["new_agent_id"])
        found[name] = seen
    return found


def prepare(repo: Path) -> None:
    repo.mkdir(parents=True)
    os.environ.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1")
    for words in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "Somebody"],
        ["config", "user.email", "somebody@example.org"],
        ["commit", "-q", "--allow-empty", "-m", "Begin"],
    ):
        subprocess.run(["git", "-C", repo, *words], check=True)
    (repo / "crewyard.toml").write_text("[launch]\nmax_cpu_percent = 100\n")
    plan = repo / "plan.json"
    plan.write_text(json.dumps(PLAN))
    command = [sys.executable, "-m", "crewyard.server.cli", "plan", "import", str(plan), "--repo", str(repo)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    plan.unlink()


def finished(invoker: ClaudeAgentInvoker) -> str:
    """A task whose agent has ended."""
    pid = invoker.invoke_command("spawn-agent-session", {"TASK_ID": "printer"})["pid"]
    _wait_for_end(pid)
    return "printer"


def failed(invoker: ClaudeAgentInvoker, repo: Path) -> str:
    """An agent that failed, as the next command has found it."""
    answer = invoker.invoke_command("spawn-agent-session", {"TASK_ID": "broken"})
    _wait_for_end(answer["pid"])
    _wait_for_row(invoker, repo, answer["agent_id"])
    return str(answer["agent_id"])


def _wait_for_row(invoker: ClaudeAgentInvoker, repo: Path, agent_id: str) -> None:
    """Until some command has taken the agent's end in."""
    sql = "SELECT 1 FROM agent_lifecycle WHERE agent_id = ? AND completed_at IS NOT NULL"
    for _ in range(100):
        invoker.invoke_command("kill-stalled-agent", {"ACTION": "kill_stalled"})
        with contextlib.closing(sqlite3.connect(repo / "data" / "orchestrator.db")) as raw:
            if raw.execute(sql, (agent_id,)).fetchone():
                return
        time.sleep(0.02)


def _wait_for_end(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------ making answers alike

TEXTS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"), "2026-01-01T00:00:00Z"),
    (re.compile(r"-20\d{6}-(\d{3})"), r"-20260101-\1"),
    (
        re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
        "00000000-0000-0000-0000-000000000000",
    ),
    (re.compile(r"\b(ot|d)-[0-9a-f]{12}\b"), r"\1-0123456789ab"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "0123456789abcdef0123456789abcdef01234567"),
    (re.compile(r"\bas [0-9a-f]{12}\b"), "as 0123456789ab"),
    (re.compile(r"\bpid \d+"), "pid 4711"),
    (re.compile(r"\berr-[0-9a-f]{12}\b"), "err-0123456789ab"),
    (re.compile(r"\b\d+\.\d+\b(?!\.)"), "1.5"),
    (re.compile(r"\b\d+ (MiB|% of|%)"), r"50 \1"),
)
MEASURED = re.compile(
    r"cpu|memory|percent|uptime|heartbeat|disk|freed|load|core|swap|total_mb|used|free|available_mb|threads|_hours|"
    r"duration|restarting_in|size|bytes|seconds_since|per_hour|_gb|_mb|total$"
)
COUNTS = re.compile(r"total_(created|available|tasks|dependencies|in_queue)|^total$")


def shown(answer: dict[str, Any], repo: Path) -> str:
    """The answer with whatever differs from time to time and from place to place made alike."""
    return json.dumps(alike(answer, "", str(repo)), indent=2, ensure_ascii=False)


def alike(value: Any, key: str, repo: str) -> Any:
    if isinstance(value, dict):
        return {name: alike(each, name, repo) for name, each in value.items()}
    if isinstance(value, list):
        if key == "per_core":
            return [1.5, 1.5]
        return [alike(each, key, repo) for each in value]
    if isinstance(value, str):
        value = value.replace(repo, "/work/project")
        for pattern, instead in TEXTS:
            value = pattern.sub(instead, value)
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
    if isinstance(value, bool) or value is None:
        return value
    return _alike_number(value, key)


def _alike_number(value: float, key: str) -> float:
    if key == "pid":
        return 4711
    if key == "pending" and value > 1:  # our own mail, of which several may be told together
        return 3
    if isinstance(value, float) and (MEASURED.search(key) or not value.is_integer()):
        return 1.5
    if isinstance(value, int) and MEASURED.search(key) and not COUNTS.search(key) and value > 9:
        return 1000
    return value


# ------------------------------------------------------------------------------------------------------- pages


def index() -> str:
    lines = [
        "# The fifteen commands",
        "",
        "<!-- Made from server/commands/ by `make docs`; change it there. -->",
        "",
        "`crewyard command NAME KEY=VALUE …` at the command line, or from Python:",
        "",
        "```python",
        "from crewyard import ClaudeAgentInvoker",
        "",
        'orchestrator = ClaudeAgentInvoker(agent_name="orchestrator")',
        'orchestrator.invoke_command("find-available-work", {"MAX_PARALLEL": "4"})',
        "```",
        "",
        "Values may be text. Every answer has `success`, `action` and `timestamp`; a refusal `error` (a code),",
        "`message`, `hint` and the ids concerned, and the command line ends with 1. The commands and the tools call",
        "the same code; a command acts in its own process where no server does, and then for what it was asked for",
        "alone. Agents of the crew have no commands. In the examples times, process ids, commits and measurements",
        "are made alike.",
    ]
    for category, names in commands.CATEGORIES.items():
        lines += ["", f"## {category}", "", "| Command | What it does |", "| --- | --- |"]
        lines += [f"| [{name}]({name}.md) | {commands.get(name).purpose} |" for name in names]
    flow = (
        "find-available-work", "create-parallel-tasks", "create-worktree", "spawn-agent-session",
        "monitor-agent-lifecycle", "merge-completed-work", "cleanup-worktrees",
    )  # fmt: skip
    lines += ["", "## The flow", ""]
    lines += [f"{number}. [{name}]({name}.md)" for number, name in enumerate(flow, 1)]
    lines += [
        "",
        "With `crewyard start`, or any server, steps 3 to 7 happen by themselves for what `assign` hands out.",
    ]
    return "\n".join(lines) + "\n"


def page(command: Command, outputs: list[str], queries: list[str]) -> str:
    parts = [
        f"# {command.name}",
        "<!-- Made from server/commands/ by `make docs`; change it there. -->",
        command.purpose,
        _facts(command),
        "## Parameters",
        _parameters(command),
    ]
    if queries:
        parts += ["## Queries", "What its examples have asked the database:"]
        parts += [f"```sql\n{query}\n```" for query in queries]
    parts += ["## Examples"]
    for example, output in zip(command.examples, outputs, strict=True):
        words = " ".join(f"{key}='{value}'" if " " in value or '"' in value else f"{key}={value}"
                         for key, value in example.parameters.items())  # fmt: skip
        call = f"crewyard command {command.name} {words}".rstrip()
        parts += [example.shows, f"```sh\n{call}\n```", f"```json\n{output}\n```"]
    parts += ["## Success criteria", _list(command.criteria), "## Errors", _errors(command)]
    if command.differs:
        parts += ["## Differs from the document", _list(command.differs)]
    related = ", ".join(f"[{name}]({name}.md)" for name in command.related)
    parts += ["## Related commands", f"{related}; [all of them](README.md)."]
    return "\n\n".join(parts) + "\n"


def _facts(command: Command) -> str:
    category = next(name for name, names in commands.CATEGORIES.items() if command.name in names)
    rows = [
        ("Action", f"`{command.action}` (`orchestrator.{command.action}`)"),
        ("Agent", "`orchestrator`"),
        ("Category", category),
        ("Reads", ", ".join(f"`{name}`" for name in command.reads) or "nothing"),
        ("Writes", ", ".join(f"`{name}`" for name in command.writes) or "nothing"),
        ("Rules", ", ".join(command.rules)),
        ("Acts on processes or git", "yes" if command.acts else "no"),
    ]
    return "| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {text} |" for name, text in rows)


def _parameters(command: Command) -> str:
    rows = [
        f"| `{each.key}` | {each.kind} | {'needed' if each.is_needed else f'`{each.default}`'} | {each.meaning} |"
        for each in commands.parameters_of(command)
    ]
    return "| Key | Type | Default | What it is |\n| --- | --- | --- | --- |\n" + "\n".join(rows)


def _errors(command: Command) -> str:
    rows = dict.fromkeys(
        f"| `{error.code}` | {(error.__doc__ or '').splitlines()[0]} | {'yes' if error.retryable else 'no'} |"
        for error in command.errors
    )
    return "| Code | What it says | Worth trying again |\n| --- | --- | --- |\n" + "\n".join(rows)


def _list(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def kept(name: str) -> tuple[list[str], list[str]]:
    """The answers and questions that a page holds."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    return [part.rstrip("\n") for part in OUTPUT.findall(text)], [part.rstrip("\n") for part in QUERIES.findall(text)]


def chosen(seen: Seen, command: Command, repo: Path) -> list[str]:
    """A few of the questions that name a table which the command is about, each once."""
    of_it = [query for query in seen.queries if any(re.search(rf"\b{table}\b", query) for table in command.reads)]
    once = {re.sub(r"'[^']*'|\d+", "", query): query for query in sorted(of_it)}
    return sorted({alike(query, "", str(repo)) for query in once.values()}, key=lambda text: (len(text), text))[
        :QUERIES_SHOWN
    ]


def pages(found: dict[str, Seen] | None, repo: Path) -> dict[str, str]:
    """Every page by its file's name; with ``found`` as the examples went, else with the answers that are there."""
    made = {"README.md": index()}
    for name in commands.NAMES:
        command = commands.get(name)
        parts = kept(name) if found is None else (found[name].outputs, chosen(found[name], command, repo))
        made[f"{name}.md"] = page(command, *parts)
    return made


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder).resolve() / "project"
        found = run_examples(repo) if "--run" in sys.argv[1:] else None
        FOLDER.mkdir(exist_ok=True)
        for name, text in pages(found, repo).items():
            (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
