"""A type of agents that is not logged in, or at its provider's limit: what a person sees of it, wherever he looks."""

import io
from typing import Any

import pytest
from rich.console import Console, ConsoleDimensions

from crewyard.server import attention, clock, dispatches, error_events, holds, log_ins, progress, terminal, why
from crewyard.server.progress import Line

from .situations import OPEN

NOW = "2026-01-01T00:00:00.000Z"
SOON = clock.plus(NOW, 1)
UNTIL = clock.plus(NOW, 300)
CURE = "Call `claude auth login`, or set ANTHROPIC_API_KEY."
SAID = "Not logged in · Please run /login, " + "and so on " * 30


def missed(bench: Any) -> str:
    """A dispatch of A and B; the agent of A was not logged in. Returns the dispatch's id."""
    bench.add_tasks("A", "B")
    row, _ = bench.store.run(dispatches.open_or_join, ["A", "B"], max_parallel=2, agent_type=None, now=NOW, actor="run")
    agent_id = bench.add_agent("A", at=NOW)

    def hold(tx: Any) -> None:
        agent = tx.only("SELECT * FROM agent_lifecycle WHERE agent_id = ?", (agent_id,))
        log_ins.hold(tx, agent, SAID, CURE, pause=300.0, now=NOW, actor="test")

    bench.store.run(hold)
    return str(row["dispatch_id"])


def test_the_cure_stands_first_and_the_programs_own_words_last_and_cut(bench: Any) -> None:
    missed(bench)
    [hold] = bench.store.read(holds.listed)
    assert hold["message"].startswith(
        f"agents of type builder are not logged in: {CURE} Tried again at {clock.local_time(UNTIL)}; "
        "`crewyard run` of the same plan tries at once. Their program said: Not logged in"
    )
    assert hold["message"].endswith("…")
    [need] = bench.store.read(attention.needs, auto_approve=True)
    assert need.what == f"is not logged in: {CURE}"


def test_a_pipe_gets_it_whole_and_once(bench: Any) -> None:
    missed(bench)
    _, lines = bench.store.read(progress.told, 0, frozenset("AB"))
    [line] = [each for each in lines if "not logged in" in each]
    assert line.partition("  ")[2] == bench.row("launch_hold")["message"]
    assert "no agents" not in line


@pytest.mark.parametrize("default", ["builder", "other"])
def test_a_task_whose_type_is_held_is_held_until_it_is_tried(bench: Any, default: str) -> None:
    missed(bench)
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET agent_type = NULL WHERE task_id = 'B'"))

    def states(now: str) -> list[tuple[str, str]]:
        rows = bench.store.read(progress.table, ["A", "B"], now, default_agent=default)
        return [(line.state, line.note) for line in rows]

    assert states(SOON)[1] == (
        ("held", f"until {clock.local_time(UNTIL)}: {CURE}") if default == "builder" else ("ready", "")
    )
    assert states(UNTIL)[1][0] == "ready", "one is let through on trial"


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table_tells_it_uncut_within_the_screen(width: int) -> None:
    message = f"agents of type builder are not logged in: {CURE} Tried again at 05:17:07; `crewyard run` tries at once"
    rows = [Line(f"task-{n}", "Title", "held", "", 0, None, CURE) for n in range(40)]
    screen = io.StringIO()
    console = Console(file=screen, width=width, height=20)
    console.print(terminal.draw(rows, ConsoleDimensions(width, 20), [message]))
    said = screen.getvalue()
    assert "A" + message[1:] + "." in " ".join(said.split())
    assert len(said.splitlines()) <= 20


def test_the_end_of_a_run_says_what_is_to_be_mended(bench: Any) -> None:
    missed(bench)
    [hold] = bench.store.read(progress.held, ["A", "B"], "builder")
    assert progress.cure_of_hold(hold) == f"agents of type builder are not logged in: {CURE}"
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET status = 'completed', completed_at = ?", (NOW,)))
    assert bench.store.read(progress.held, ["A", "B"], "builder") == [], "nobody needs it any more"


def test_a_task_of_an_interrupted_run_tells_of_the_log_in_first(bench: Any) -> None:
    name = missed(bench)
    bench.store.run(dispatches.change, name, "paused", now=SOON, actor="run", why="interrupted")
    for now in (SOON, clock.plus(UNTIL, 1)):
        told = bench.store.read(why.explain, "B", now=now, bounds=OPEN)
        assert told.because.index(CURE) < told.because.index(f"Besides, its dispatch {name} is paused.")
        assert told.next_call == f"assign(action='resume', dispatch_id='{name}')"


def test_why_of_a_type_that_is_held_tells_the_hold(bench: Any) -> None:
    missed(bench)
    bench.add_agent("B", at=NOW)
    told = bench.store.read(why.explain, "builder", now=SOON, bounds=OPEN)
    assert (told.subject_type, told.subject) == ("agent_type", "builder")
    assert told.because.startswith("No builder can start until")
    assert CURE in told.because


def test_a_limit_is_told_whole_too(bench: Any) -> None:
    message = f"the provider's limit of builder is reached, it says: {'word ' * 60}end"
    bench.store.run(holds.hold, "builder", "quota", message, until=UNTIL, now=NOW, actor="test")
    _, [line] = bench.store.read(progress.told, 0, frozenset())
    assert line.endswith(message)


def test_an_error_of_a_missing_log_in_has_the_programs_own_line(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A", at=NOW)
    bench.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET kind = 'claude'"))
    note = error_events.Note("authentication_failure", "no", "escalated", "A", agent_id=agent_id)
    error_id = bench.store.run(error_events.note, note, now=NOW, actor="test")
    assert f": no. {CURE}" in bench.store.read(why.explain, error_id, now=SOON, bounds=OPEN).because
