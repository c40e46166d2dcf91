"""What ``crewyard status`` and ``crewyard plan show`` print: whole for a pipe, fitted to a terminal, quick to start."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from crewyard.server import locating, status_view, views
from crewyard.server.attention import Delay, Need
from crewyard.server.graph import Graph, GraphEdge, GraphTask
from crewyard.server.overview import AgentView, DispatchView, HoldView, LeaseView, MergeView, Overview
from crewyard.server.status import AgentNow, DaemonNow, Status
from crewyard.server.store import Store

NOW = "2026-01-01T00:10:00.000Z"
EARLIER = "2026-01-01T00:09:30.000Z"
LONG = "A title that goes on and on, far beyond what any line of a terminal has room for, to its very end"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 80 columns in place of standard output."""
    screen = io.StringIO()
    monkeypatch.setattr(
        views, "_console", lambda: Console(file=screen, force_terminal=True, width=80, highlight=False, no_color=True)
    )
    return screen


def lines_of(screen: io.StringIO) -> list[str]:
    return [Text.from_ansi(line).plain for line in screen.getvalue().splitlines()]


def task(task_id: str, status: str = "pending", title: str = "Title") -> GraphTask:
    return GraphTask(task_id, title, status, 5, 1.0, 1.0, 0, None)


def edge(blocking: str, dependent: str, kind: str = "hard") -> GraphEdge:
    return GraphEdge(blocking, dependent, kind, "pending")


def overview(**facts: object) -> Overview:
    empty: dict[str, object] = {
        "at": NOW, "tasks": {}, "in_review": [], "agents": [], "merges": [], "dispatches": [], "messages": {},
        "supervisor": None, "holds": [],
    }  # fmt: skip
    return Overview(**{**empty, **facts})  # type: ignore[arg-type]


def show(seen: Overview, console: Console | None = None, **facts: Any) -> None:
    alive = [AgentNow(view, process_alive=True, cpu_percent=12.5, memory_mb=45.0, processes=3) for view in seen.agents]
    status_view.print_status(
        Status(**{"seen": seen, "daemon": None, "supervisor_uptime_seconds": 61.0, "agents": alive, **facts}), console
    )


AGENT = AgentView("code_developer-20260101-001", "code_developer", "running", "T1", 1, 125.0, EARLIER, 2)


def test_an_empty_yard_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    show(overview())

    assert "crewyard run PLAN" in capsys.readouterr().out


def test_a_pipe_gets_everything_of_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        overview(
            tasks={"completed": 3, "in_progress": 1, "failed": 0},
            agents=[AGENT],
            merges=[MergeView(1, "T2", "queued", 1, "roadmap", "2026-01-01T00:10:07.000Z", LONG)],
            dispatches=[DispatchView("d-1", "active", 4, 7, 2, EARLIER)],
            messages={"pending": 2, "acknowledged": 9},
            supervisor=LeaseView("crewyard-77", 77, 3, NOW, is_held=True),
        ),
        unread=2,
    )
    said = capsys.readouterr().out

    assert "4: 3 completed, 1 in progress\n" in said
    assert "Agents, 1/4 running\n" in said
    assert "code_developer-20260101-001  running  T1  pid 1  2 min  CPU 12.5 %  RAM 45 MB  last sign 30 s ago" in said
    assert "ago, 2 restarts\n" in said
    assert f"1. T2  queued  into roadmap  again in 7 s: {LONG}\n" in said
    assert "7 tasks, 2 of 4 agents at work, for 30 s" in said
    assert "Messages      2 not read yet by agents at work\n" in said
    assert "process 77, for 61 s" in said
    assert "\x1b" not in said


def test_open_work_without_a_supervisor_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    gone = LeaseView("crewyard-77", 77, 3, EARLIER, is_held=False)
    show(overview(tasks={"ready": 1}, dispatches=[DispatchView("d-1", "active", 4, 1, 0, EARLIER)], supervisor=gone))

    assert "Supervisor    none: `crewyard start`, `run PLAN` or `serve` goes on" in capsys.readouterr().out


def test_the_daemon_is_named_and_that_it_supervises(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = DaemonNow(77, "http://127.0.0.1:4711/mcp", "a file", NOW, 30.0)
    show(overview(supervisor=LeaseView("crewyard-77", 77, 3, NOW, is_held=True)), daemon=daemon)
    said = capsys.readouterr().out

    assert "Daemon        process 77, http://127.0.0.1:4711/mcp, for 30 s\n" in said
    assert "Supervisor    process 77 (the daemon), for 61 s\n" in said


def test_an_agent_whose_process_is_gone_is_marked_and_what_is_unknown_is_a_dash(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = AgentNow(
        AGENT, process_alive=False, cpu_percent=None, memory_mb=None, processes=0, note="its process is gone"
    )
    show(overview(agents=[AGENT]), agents=[gone])
    said = capsys.readouterr().out

    assert "Agents, 0 running\n" in said
    assert "running?  T1  pid 1  2 min  CPU -  RAM -  its process is gone\n" in said


def test_on_a_terminal_no_row_is_wider_than_the_screen_and_every_sentence_is_whole() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, highlight=False, no_color=True)
    merges = [MergeView(1, "T2", "queued", 1, "roadmap", None, LONG)]
    show(overview(merges=merges, agents=[AGENT]), console, notes=[LONG])

    assert max(len(line) for line in lines_of(screen)) <= 80
    assert any(line.endswith("…") for line in lines_of(screen))
    assert LONG in " ".join(line.strip() for line in lines_of(screen)), "a note is wrapped, not cut"


def test_r305_what_needs_a_person_is_told_with_the_call_that_helps(capsys: pytest.CaptureFixture[str]) -> None:
    needs = [Need(f"T{n}", "is in review: its check failed", f"crewyard why T{n}") for n in range(2)]
    show(overview(), needs=needs)
    said = capsys.readouterr().out

    assert "Needs a person\n  T0  is in review: its check failed\n      → crewyard why T0\n  T1" in said


def test_a_restart_to_come_ready_tasks_of_nobody_and_an_agent_that_asks_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asking = AgentNow(AGENT, process_alive=True, cpu_percent=0.0, memory_mb=1.0, processes=1, waits_for_answer=True)
    show(
        overview(agents=[AGENT], messages={"pending": 20}),
        agents=[asking],
        delays=[Delay("flaky", 2, "2026-01-01T00:10:04.000Z", "exit code 3")],
        left_ready=1,
    )
    said = capsys.readouterr().out

    assert "Waiting for their restart\n  flaky  attempt 2  in 4 s: exit code 3\n" in said
    assert "Ready         1 task that nobody works off: `crewyard run PLAN` does\n" in said
    assert "code_developer-20260101-001  asks  T1" in said
    assert "Messages" not in said, "nobody who lives is waited for"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("cpu", "Held          One agent at a time is started, the next at "),
        ("memory", "Held          No agent is started until "),
    ],
)
def test_r306_a_hold_says_what_is_true_of_it(reason: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(overview(holds=[HoldView("*", reason, "the machine is 96 % busy", NOW, "2026-01-01T00:10:05.000Z")]))

    assert said in capsys.readouterr().out


def test_what_to_type_is_whole_on_the_narrowest_screen() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, highlight=False, no_color=True)
    show(overview(), console, needs=[Need("T1", f"waits for your answer: {LONG}", "crewyard send T1 TEXT")])

    assert "      → crewyard send T1 TEXT" in lines_of(screen)


def test_types_that_a_start_left_out_are_told_but_the_built_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("builder", "scripted", "codex", "gemini")
    left_out = [HoldView(scope, "not_started", "it was left out", NOW, None) for scope in names]
    show(overview(holds=left_out), configured=frozenset({"codex"}))
    said = capsys.readouterr().out

    assert "No builder is started: it was left out" in said
    assert "No codex is started" in said
    assert "scripted" not in said
    assert "gemini" not in said


def test_a_supervisor_that_is_gone_has_no_pid_for_scripts() -> None:
    gone = LeaseView("crewyard-77", 77, 3, EARLIER, is_held=False)
    told = Status(overview(supervisor=gone), None, None, []).as_dict()["supervisor"]

    assert (told["pid"], told["last_pid"], told["is_held"]) == (None, 77, False)


def test_the_graph_is_drawn_in_steps_with_every_edge(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = (task("c", title=LONG), task("a", "completed"), task("b", "ready"), task("d"))
    views.print_graph(
        Graph(tasks, (edge("a", "b"), edge("b", "c"), edge("a", "c"), edge("a", "d", "soft")), ("b", "c"))
    )

    assert capsys.readouterr().out.splitlines() == [
        "step 1",
        "  a  completed  Title",
        "  d  pending    Title  ← (a)",
        "step 2",
        "* b  ready      Title  ← a",
        "step 3",
        f"* c  pending    {LONG}  ← b, a",
        "4 tasks: 2 pending, 1 completed, 1 ready. 4 dependencies.",
        "* the longest way through what is open, 2 h: b → c",
    ]


def test_on_a_terminal_titles_are_cut_and_edges_are_not(terminal: io.StringIO) -> None:
    blockers = tuple(task(f"blocker-number-{number}") for number in range(9))
    edges = tuple(edge(each.task_id, "last") for each in blockers)
    views.print_graph(Graph((*blockers, task("last", title=LONG)), edges, ()))
    said = lines_of(terminal)

    assert max(len(line) for line in said) <= 80
    assert " ".join(" ".join(said).split()).count("blocker-number-8") == 2
    assert any("…" in line for line in said)


def test_a_circle_in_an_edited_database_is_drawn_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    views.print_graph(Graph((task("a"), task("b"), task("c")), (edge("a", "b"), edge("b", "a")), ()))
    said = capsys.readouterr().out

    assert "  a  pending  Title  ← b\n" in said
    assert "  b  pending  Title  ← a\n" in said


def test_a_plan_of_three_thousand_tasks_in_one_chain_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = tuple(task(f"t{number}") for number in range(3_000))
    edges = tuple(edge(f"t{number}", f"t{number + 1}") for number in range(2_999))
    views.print_graph(Graph(tasks, edges, ()))

    assert "step 3000\n" in capsys.readouterr().out


def test_an_empty_plan_says_how_to_fill_it(capsys: pytest.CaptureFixture[str]) -> None:
    views.print_graph(Graph((), (), ()))

    assert "crewyard plan import PLAN" in capsys.readouterr().out


SLOW = ("mcp", "httpx", "asyncio", "typer", "pydantic", "git", "rich.console", "psutil", "crewyard.server.headless")


def test_r300_status_is_answered_without_importing_what_is_slow(git_repo: Path) -> None:
    (git_repo / "data" / "crewyard").mkdir(parents=True)
    (git_repo / "crewyard.toml").write_text("[crew]\nmax_parallel = 2\n")
    Store(git_repo / "data" / "orchestrator.db").close()
    assert locating.check(locating.locate(git_repo)) is None, "settings that nobody has looked at yet are checked once"
    program = (
        "import sys; from crewyard.server import entry; sys.argv = ['crewyard', 'status']\n"
        "try:\n    entry.main()\nexcept SystemExit as end:\n"
        f"    print(end.code, [name for name in {SLOW} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=git_repo, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr
