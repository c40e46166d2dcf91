"""What a run says at its end and shows meanwhile, fitted to whatever terminal there is."""

import io
from typing import Any

import pytest
from rich.console import Console, ConsoleDimensions

from crewyard.server import terminal
from crewyard.server.progress import Line

AGENT = "code_developer-20261121-017"


def outcome(task_id: str, status: str, **facts: Any) -> dict[str, Any]:
    return {"task_id": task_id, "status": status, "attempts": 1, "merge_commit": None, "error": None, **facts}


def test_the_end_of_a_run_names_states_as_status_does_and_what_to_ask_next(capsys: pytest.CaptureFixture[str]) -> None:
    waits = {"code": "blocker_not_completed", "message": "It was not started: it waits for A (failed)."}
    terminal.print_outcome(
        {
            "tasks": [
                outcome("A", "failed", error={"code": "agent_failed", "message": "exit code 3."}, attempts=4),
                outcome("B", "cancelled", error=waits, attempts=0),
                outcome("C", "in_progress"),
                outcome("D", "merged", merge_commit="c0ffee1234567"),
            ],
            "totals": {"tasks": 4, "merged": 1, "completed": 0, "attempts": 6},
            "integration_branch": "roadmap",
            "duration_seconds": 7.2,
        }
    )
    said = capsys.readouterr().out.splitlines()

    assert said[:6] == [
        "failed     A  4 attempts",
        "           agent_failed: exit code 3.",
        "pending    B",
        "           It was not started: it waits for A (failed).",
        "at work    C",
        "merged     D  c0ffee1234",
    ]
    assert "`crewyard why TASK`" in " ".join(said)


@pytest.mark.parametrize("width", [100, 110, 200])
def test_an_agents_number_is_never_cut_away_from_the_table(width: int) -> None:
    screen = io.StringIO()
    rows = [Line("a" * 40, "Title", "running", f"very_long_type_of_agents-20261121-{n:03}", 1, 1.0, "") for n in (1, 2)]
    console = Console(file=screen, width=width, height=20)
    console.print(terminal.draw(rows, ConsoleDimensions(width, 20)))
    said = screen.getvalue()

    assert "-001" in said
    assert "-002" in said
    assert "…" in said
