"""Bad input: a clear message with the cure, exit code 2, and nothing changed (issue 2, contract 2)."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = {"tasks": [{"task_id": "A", "title": "a", "agent_type": "scripted"}]}


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, git's own files included; git's index may be refreshed by looking."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "index")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """``refused(repo, plan, …)``: what `crewyard run` says, having ended with 2 and left everything as it was."""

    def run(repo: Path, plan: object = GOOD, *options: str) -> str:
        path = tmp_path / "plan.json"
        if isinstance(plan, bytes):
            path.write_bytes(plan)
        elif isinstance(plan, Path):
            path = plan
        else:
            path.write_text(plan if isinstance(plan, str) else json.dumps(plan))
        before = tree(repo)
        command = [sys.executable, "-m", "crewyard.server.cli", "run", str(path), "--repo", str(repo), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert "→" in done.stderr, "each refusal names the next step"
        assert tree(repo) == before
        return done.stderr

    return run


def test_a_folder_that_is_no_repository(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "git init" in refused(tmp_path / "empty")
    assert "no folder" in refused(tmp_path / "missing")


def test_a_bare_repository(tmp_path: Path, git: Callable[..., str], refused: Callable[..., str]) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    assert "bare" in refused(tmp_path / "bare.git")


def test_a_repository_without_a_commit(tmp_path: Path, git: Callable[..., str], refused: Callable[..., str]) -> None:
    git(tmp_path, "init", "--quiet", "new")
    assert "no commit" in refused(tmp_path / "new")


def test_a_checkout_with_uncommitted_changes_that_agents_would_miss(
    git_repo: Path, refused: Callable[..., str]
) -> None:
    (git_repo / "README.md").write_text("changed")
    assert "README.md" in refused(git_repo)


def test_uncommitted_changes_elsewhere_than_the_integration_branch_are_nobodys_business(
    yard, git: Callable[..., str]
) -> None:
    git(yard.repo, "branch", "roadmap")
    (yard.repo / "README.md").write_text("changed")
    assert yard.run(yard.plan({"task_id": "A"})).code == 0
    assert (yard.repo / "README.md").read_text() == "changed"


@pytest.mark.parametrize("operation", ["merge", "rebase", "cherry-pick", "revert"])
def test_a_repository_in_the_middle_of_something(
    git_repo: Path, git: Callable[..., str], refused: Callable[..., str], operation: str
) -> None:
    git(git_repo, "branch", "other")
    for branch in ("main", "other"):
        git(git_repo, "switch", "--quiet", branch)
        for text in (f"{branch} one", f"{branch} two"):
            (git_repo / "README.md").write_text(text)
            git(git_repo, "commit", "--quiet", "--all", f"--message={text}")
    what = {"merge": ["main"], "rebase": ["main"], "cherry-pick": ["main"], "revert": ["--no-edit", "HEAD~1"]}
    subprocess.run(["git", "-C", git_repo, operation, *what[operation]], capture_output=True, check=False)
    said = refused(git_repo)
    assert f"in the middle of a {operation}" in said
    assert f"git {operation} --abort" in said


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        (b"", "empty"),
        (b"\x00\x01binary", "plan.json"),
        ('{"tasks": [', "line 1"),
        ({"tasks": []}, "no task"),
        ({"tasks": [{"task_id": "A"}, {"task_id": "A"}]}, "A"),
        ({"tasks": [{"task_id": "A", "depends_on": ["GONE"]}]}, "GONE"),
        ({"tasks": [{"task_id": "A", "depends_on": ["B"]}, {"task_id": "B", "depends_on": ["A"]}]}, "A → B → A"),
        ({"tasks": [{"task_id": "../../etc"}]}, "../../etc"),
        ({"tasks": [{"task_id": "--force"}]}, "--force"),
        ({"tasks": [{"task_id": "a.lock"}]}, "a.lock"),
        ({"tasks": [{"task_id": "A", "agent_type": "scriptd"}]}, "scripted"),
        ({"tasks": [{"task_id": "A", "priority": 99, "agent_type": "scripted"}]}, "99"),
    ],
)
def test_a_plan_that_cannot_be_used(git_repo: Path, refused: Callable[..., str], plan: object, named: str) -> None:
    assert named in refused(git_repo, plan)


def test_a_plan_that_is_not_there(git_repo: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "nowhere.md" in refused(git_repo, tmp_path / "nowhere.md")
    assert "directory" in refused(git_repo, tmp_path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[crew]\nmax_paralel = 3\n", "max_parallel"),
        ("[crw]\n", "crew"),
        ("[crew]\nmax_parallel = 'many'\n", "crew.max_parallel"),
        ("[crew\n", "crewyard.toml"),
        ("[crew]\ndata_dir = '../outside'\n", "data_dir"),
        ("[crew]\nintegration_branch = '-f'\n", "integration_branch"),
        ("[agents.A]\ncommand = ['no-such-program-anywhere']\n", "no-such-program-anywhere"),
        ("[agents.A]\ncommand = ['sh', '{promt}']\n", "{prompt}"),
        ("[agents.A]\nkind = 'claude'\n", "claude"),
    ],
)
def test_a_configuration_that_cannot_be_used(
    git_repo: Path, refused: Callable[..., str], text: str, named: str
) -> None:
    (git_repo / "crewyard.toml").write_text(text)
    plan = {"tasks": [{"task_id": "T", "agent_type": "A" if "agents.A" in text else "scripted"}]}
    assert named in refused(git_repo, plan)


def test_a_machine_without_git_is_told_so(git_repo: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    command = [sys.executable, "-m", "crewyard.server.cli", "status", "--repo", str(git_repo)]
    environment = {**os.environ, "PATH": str(tmp_path / "bin")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert "git is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_json_a_refusal_is_one_object_on_standard_output(git_repo: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text("{}")
    command = [sys.executable, "-m", "crewyard.server.cli", "run", str(plan), "--repo", str(git_repo), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["error"]["code"]) == (2, "refused", "invalid_input")


def test_the_second_documented_path_form_works(yard) -> None:
    yard.configure('worktree_path = "../worktrees/task-{task_id}"\n')
    outcome = yard.run(yard.plan({"task_id": "A"}))
    assert outcome.code == 0, outcome.err
    path = yard.rows("SELECT worktree_path FROM git_worktree_tracker")[0]["worktree_path"]
    assert path == str(yard.repo.parent / "worktrees/task-A")
    assert yard.worktrees() == 1


def test_a_merge_check_that_cannot_be_started(git_repo: Path, refused: Callable[..., str]) -> None:
    (git_repo / "crewyard.toml").write_text("[merge]\ncheck = ['no-such-check']\n")
    assert "no-such-check" in refused(git_repo)
