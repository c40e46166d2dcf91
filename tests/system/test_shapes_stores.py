"""A tree as large as they come, and an object store that nothing can be written to."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CREWYARD = [sys.executable, "-m", "crewyard.server.cli"]
FILES = 57_000
RIGHTS = "-dac_override,-dac_read_search"
WITHOUT_PRIVILEGES = ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}", "--"]


def test_a_tree_of_57000_files_is_worked_in_merged_and_followed(yard) -> None:
    yard.git(yard.repo, "config", "index.version", "4")
    stream = [
        b"blob\nmark :1\ndata 5\ntext\n\ncommit refs/heads/large\ncommitter T <t@example.org> 0 +0000\ndata 5\nLarge\n"
    ]
    stream += [b"M 100644 :1 d%02d/e%02d/f%d\n" % (n % 60, n // 60 % 50, n) for n in range(FILES)]
    subprocess.run(["git", "-C", yard.repo, "fast-import", "--quiet"], input=b"".join(stream), check=True)
    yard.git(yard.repo, "switch", "-q", "large")
    yard.git(yard.repo, "switch", "-qc", "roadmap")
    program = yard.folder / "agent.sh"
    program.write_text('echo $CREWYARD_TASK_ID > "d00/e00/of $CREWYARD_TASK_ID"; rm d01/e00/f1; mv d02 moved\n')
    yard.configure(f'[agents.shell]\ncommand = ["sh", "{program}"]\n')
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "shell"}))
    assert outcome.code == 0, outcome.err
    assert yard.git(yard.repo, "ls-tree", "-r", "--name-only", "roadmap").count("\n") == FILES - 1
    assert (yard.repo / "d00/e00/of A").read_text() == "A\n"
    assert (yard.repo / "moved/e00/f2").read_text() == "text\n"
    assert not (yard.repo / "d02").exists()
    assert yard.git(yard.repo, "status", "--porcelain") == "?? crewyard.toml"


@pytest.fixture
def sealed(yard) -> Iterator[Path]:
    """The folder of objects of a repository, which can be written to again when the test is over."""
    objects = yard.repo / ".git/objects"
    yield objects
    for folder in (objects, *(path for path in objects.rglob("*") if path.is_dir())):
        folder.chmod(0o755)


def test_an_object_store_that_cannot_be_written_to_is_told_of_and_gone_on_with_later(
    yard, sealed: Path, git: Callable[..., str]
) -> None:
    by = CREWYARD
    if os.geteuid() == 0:
        by = [*WITHOUT_PRIVILEGES, *CREWYARD]
        if subprocess.run([*WITHOUT_PRIVILEGES, "true"], check=False, capture_output=True).returncode != 0:
            pytest.skip("root writes whatever the rights say, and cannot be kept from it here")
    git(yard.repo, "branch", "roadmap")
    yard.configure("max_restarts = 0\n")
    plan = yard.plan({"task_id": "A", "description": "```crew-script\nwrite A.md here\n```"})
    for folder in (sealed, *(path for path in sealed.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    before = git(yard.repo, "for-each-ref", "refs/heads/main", "refs/heads/roadmap")
    outcome = yard.start(plan, by=by).finish()
    assert outcome.code == 1, outcome.err
    assert "insufficient permission" in outcome.task("A")["error"]["message"]
    assert (yard.repo / ".worktrees/implementation_task-A/A.md").read_text() == "here\n"
    assert git(yard.repo, "for-each-ref", "refs/heads/main", "refs/heads/roadmap") == before
    for folder in (sealed, *(path for path in sealed.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    again = yard.start(plan, by=by).finish()
    assert again.code == 0, again.err
    assert yard.at_roadmap("A.md") == "here"
