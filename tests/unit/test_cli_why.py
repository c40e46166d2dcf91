"""``crewyard why`` at a terminal: what it says can be typed, and it answers where other commands cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crewyard.server import clock, plans
from crewyard.server.cli import app
from crewyard.server.readers import read_plan


@pytest.fixture
def database(git_repo: Path) -> Path:
    return git_repo / "data" / "orchestrator.db"


@pytest.fixture
def why(git_repo: Path) -> Callable[[str], str]:
    def call(subject: str) -> str:
        done = CliRunner().invoke(app, ["why", subject, "--repo", str(git_repo)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return call


def test_a_run_is_offered_with_the_plan_that_was_imported(
    bench: Any, why: Callable[[str], str], git_repo: Path, tmp_path: Path
) -> None:
    bench.add_tasks("A")
    assert "→ `crewyard run PLAN`" in why("A")
    plan = tmp_path / "my plan.json"
    plan.write_text('{"tasks": [{"task_id": "B", "title": "B"}]}')
    draft = read_plan(plan.read_bytes(), name=str(plan), subtasks="tasks", known=frozenset())
    bench.store.run(plans.import_plan, draft, now=clock.now(), actor="cli", agent_types={"builder"})
    assert f"→ `crewyard run '{plan}'`" in why("B")
    plan.unlink()
    assert "→ `crewyard run PLAN`" in why("B")


def test_why_answers_beside_a_broken_configuration(bench: Any, why: Callable[[str], str], git_repo: Path) -> None:
    bench.add_tasks("A")
    (git_repo / "crewyard.toml").write_text("x = [")
    said = why("A")
    assert "What is told is by the default settings." in said
    assert "Task A is ready, but no dispatch works it off." in said


def test_why_answers_without_the_samples(bench: Any, why: Callable[[str], str], git_repo: Path) -> None:
    bench.add_tasks("A")
    bench.store.close()
    for each in git_repo.joinpath("data").glob("metrics.db*"):
        each.unlink()
    assert "Task A is ready" in why("A")
