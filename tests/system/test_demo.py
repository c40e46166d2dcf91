"""``crewyard demo``, run once for real and looked at from outside: exit code, git, database, processes (issue 2)."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import demo
from crewyard.server.errors import InvalidInput

CREWYARD = [sys.executable, "-m", "crewyard.server.cli"]
Git = Callable[..., str]


class Shown:
    """A demonstration that has ended, and what it left."""

    def __init__(self, repo: Path, done: "subprocess.CompletedProcess[str]") -> None:
        self.repo = repo
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.repo / "data" / "orchestrator.db")) as connection:
            return connection.execute(sql).fetchall()

    def value(self, sql: str) -> Any:
        return self.rows(sql)[0][0]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Run where it is hardest: no git identity, a folder with spaces, a hook's environment, the person's settings."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    repo = tmp_path_factory.mktemp("a folder with spaces") / "the demo"
    hostile = {"GIT_DIR": str(elsewhere / ".git"), "GIT_INDEX_FILE": "x", "CREWYARD_CREW_MAX_PARALLEL": "1"}
    command = [*CREWYARD, "demo", "--folder", str(repo)]
    done = subprocess.run(
        command, env={**os.environ, **hostile}, cwd=elsewhere, capture_output=True, text=True, timeout=120, check=False
    )
    assert list(elsewhere.iterdir()) == []
    return Shown(repo, done)


def test_it_goes_as_planned(shown: Shown) -> None:
    assert shown.code == 0, shown.out + shown.err
    assert "Not as planned" not in shown.out
    assert "Traceback" not in shown.out + shown.err


def test_every_task_is_merged_by_a_commit_with_two_parents(shown: Shown, git: Git) -> None:
    assert shown.rows("SELECT status, count(*) FROM specs_task GROUP BY 1") == [("completed", 10)]
    merges = [row[0] for row in shown.rows("SELECT merge_commit FROM merge_request WHERE status = 'merged'")]
    first_parents = git(shown.repo, "rev-list", "--first-parent", "main..roadmap").split()
    assert sorted(merges) == sorted(first_parents)
    assert len(merges) == 10
    for commit in merges:
        assert len(git(shown.repo, "rev-list", "--parents", "-1", commit).split()) == 3


def test_one_agent_dies_and_is_restarted_after_a_delay(shown: Shown) -> None:
    [(task_id, delay, signal)] = shown.rows(
        "SELECT r.task_id, r.backoff_seconds, a.exit_signal FROM agent_restart_log r JOIN agent_lifecycle a "
        "USING (agent_id) WHERE r.reason = 'agent_failed'"
    )
    assert (task_id, signal) == ("letters", 9)
    assert f"restarted {delay:g} s later" in " ".join(shown.out.split())


def test_one_merge_conflicts_and_ends_merged_with_both_sides_kept(shown: Shown, git: Git) -> None:
    [(task_id, files)] = shown.rows("SELECT task_id, conflicted_files FROM merge_request WHERE status = 'conflicted'")
    assert (task_id, files) == ("lines", '["textstats/measures.py"]')
    measures = git(shown.repo, "show", "roadmap:textstats/measures.py")
    assert '"words"' in measures
    assert '"lines"' in measures
    assert "<<<<" not in measures


def test_tasks_ran_in_parallel_and_none_before_what_it_waits_for(shown: Shown) -> None:
    most = shown.value(
        "SELECT max((SELECT count(*) FROM agent_lifecycle b WHERE b.started_at <= a.started_at "
        "AND b.completed_at > a.started_at)) FROM agent_lifecycle a"
    )
    assert most in (3, 4)
    early = shown.rows(
        "SELECT d.dependent_task_id FROM specs_task_dependency d JOIN specs_task b ON b.task_id = d.blocking_task_id "
        "JOIN agent_lifecycle a ON a.task_id = d.dependent_task_id WHERE a.started_at < b.completed_at"
    )
    assert early == []


def test_no_worktree_no_branch_and_no_process_is_left(shown: Shown, git: Git) -> None:
    assert git(shown.repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main", "refs/heads/roadmap"]
    assert git(shown.repo, "worktree", "list").count("\n") == 0
    assert git(shown.repo, "status", "--porcelain") == ""
    assert [pid for pid in os.listdir("/proc") if pid.isdigit() and _mentions(Path("/proc", pid), shown.repo)] == []


def test_what_it_prints_is_what_git_and_the_database_say(shown: Shown, git: Git) -> None:
    assert git(shown.repo, "log", "--graph", "--oneline", "roadmap") in shown.out
    agents, milliseconds = shown.rows("SELECT count(*), sum(duration_ms) FROM agent_lifecycle")[0]
    assert f"by {agents} agents and 10 merges" in shown.out
    assert f"would have taken {milliseconds / 1000:.1f} s" in shown.out
    for blocking, dependent in shown.rows("SELECT blocking_task_id, dependent_task_id FROM specs_task_dependency"):
        [line] = re.findall(rf"^  {dependent} .*←(.*)$", shown.out, re.MULTILINE)
        assert blocking in line.replace(",", " ").split()


def test_the_commands_that_it_names_work(shown: Shown) -> None:
    named = dict(
        re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in shown.out.split("Where to look\n")[1].splitlines()
    )
    assert set(named) >= {"the program made", "the plan's file", "the plan's tasks", "how it stands", "the crash"}
    named["the plan's file"] = "head -1 " + named["the plan's file"]
    for what, command in named.items():
        if what != "seen enough":
            done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
            assert done.returncode == 0, (command, done.stderr)


def test_the_configuration_it_shows_is_one_that_a_person_may_copy(shown: Shown) -> None:
    assert tomllib.loads((shown.repo / "crewyard.toml").read_text())["merge"]["check"] == ["python3", "-m", "unittest"]


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="not an empty folder"):
        demo.show(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_demonstration_that_fails_says_so_and_exits_with_1(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "plan.md").write_text("## only: A task\n\n```crew-script\nfail 3\n```\n")
    (files / "crewyard.toml").write_text('[crew]\nmax_restarts = 0\n[agents.a]\nkind = "scripted"\n')
    program = (
        "import sys, pathlib; from crewyard.server import demo; demo.FILES = pathlib.Path(sys.argv[1]); "
        "sys.exit(demo.show(pathlib.Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", program, str(files), str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stderr
    assert "Not as planned: task only is failed" in done.stdout
    assert "Not as planned: no merge conflicted" in done.stdout
    assert "Not as planned: `python3 -m textstats sample.txt` ended with" in done.stdout


def test_a_terminal_that_knows_ascii_only_is_no_reason_to_fail(shown: Shown) -> None:
    command = [*CREWYARD, "plan", "show", "--repo", str(shown.repo)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "words, sentences" in done.stdout


def _mentions(process: Path, repo: Path) -> bool:
    try:
        return str(repo).encode() in (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
    except OSError:
        return False
