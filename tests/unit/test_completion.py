"""What the shell completes, by the protocol that shells speak, and quickly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crewyard.server import completion
from crewyard.server.store import Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"


def plan(tx: Transaction) -> None:
    for task_id in ("alpha", "alpine", "beta", "100%_sure", "o'clock"):
        tx.run(
            "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) VALUES (?, ?, 'ready', ?, ?)",
            (task_id, task_id, NOW, NOW),
        )
    tx.run(
        "INSERT INTO agent_lifecycle (agent_id, agent_type, kind, task_id, workspace, run_dir, term, created_at) "
        "VALUES ('alf-1', 'alf', 'command', 'alpha', '/w', '/r', 1, ?)",
        (NOW,),
    )


@pytest.fixture
def repo(git_repo: Path) -> Path:
    store = Store(git_repo / "data" / "orchestrator.db")
    store.run(plan)
    store.close()
    return git_repo


def completed(line: str, at: Path) -> list[str]:
    """As bash asks for it."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_CREWYARD_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    program = "import sys; sys.argv[0] = 'crewyard'; from crewyard.server import entry; entry.main()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=at, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if done.stdout.endswith("\n") else done.stdout.split("\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("crewyard logs al", ["alf-1", "alpha", "alpine"]),
        ("crewyard logs -f alph", ["alpha"]),
        ("crewyard why b", ["beta"]),
        ("crewyard worktrees approve alp", ["alpha", "alpine"]),
        ("crewyard doc", ["doctor"]),
        ("crewyard command find-av", ["find-available-work"]),
    ],
)
def test_ids_and_commands_are_completed_as_the_shell_asks(repo: Path, line: str, expected: list[str]) -> None:
    assert completed(line, repo) == expected


def test_the_repository_that_the_line_names_is_asked(repo: Path, tmp_path: Path) -> None:
    assert completed(f"crewyard logs --repo {repo} alph", tmp_path) == ["alpha"]


def test_an_id_with_signs_that_mean_something_elsewhere_is_taken_word_for_word(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)

    assert completion.tasks("100%_") == [("100%_sure", "ready")]
    assert completion.tasks("%") == []
    assert completion.tasks("o'") == [("o'clock", "ready")]


def test_where_there_is_nothing_to_complete_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert completion.agents_and_tasks("") == []
    assert completion.subjects("") == []
