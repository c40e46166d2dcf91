"""Conflicts with real git: what is settled, what an agent gets, what a person decides, and what a crash leaves."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crewyard.server import clock, merger, merges, resolutions, settings
from crewyard.server.crew import Crew
from crewyard.server.errors import IllegalTransition
from crewyard.server.operations import GitOperations
from crewyard.server.store import Row

Proven = Callable[..., int]
Script = Callable[..., str]


def request(crew: Crew, merge_id: int) -> Row:
    return crew.store.read(merges.get, merge_id)


def message(crew: Crew, yard, merge_id: int) -> str:
    return str(yard.git(yard.repo, "log", "-1", "--format=%B", request(crew, merge_id)["merge_commit"]))


def clash(crew: Crew, proven_task: Proven, ours: str = "ours\n", theirs: str = "theirs\n", name: str = "f") -> int:
    """Task A's request, in conflict with task B, which is merged."""
    first, second = proven_task("B", {name: ours}), proven_task("A", {name: theirs})
    merger.work_off(crew, "roadmap")
    assert [request(crew, each)["status"] for each in (first, second)] == ["merged", "conflicted"]
    return second


def resolve(crew: Crew, strategy: str, task_id: str = "A") -> int:
    row = crew.store.run(resolutions.resolve, task_id, strategy, now=clock.now(), actor="lead")
    return int(row["merge_id"])


def test_what_can_lose_nothing_is_settled_and_told_in_the_merge(crew: Crew, yard, proven_task: Proven) -> None:
    yard.configure('[merge]\nunion = ["*.md"]\n')
    crew.settings = settings.load(yard.repo)
    proven_task("B", {"f.py": "x = 1\n", "C.md": "# C\nb\n"})
    second = proven_task("A", {"f.py": "x  =  1\n", "C.md": "# C\na\n"})
    merger.work_off(crew, "roadmap")
    row = request(crew, second)
    assert row["status"] == "merged"
    assert yard.at_roadmap("f.py") == "x = 1"
    assert yard.at_roadmap("C.md") == "# C\nb\na"
    assert message(crew, yard, second).splitlines()[4:] == [
        "Conflicts settled without an agent:",
        "- C.md: both sides' additions kept (1 hunk)",
        "- f.py: only whitespace differs, roadmap's kept (1 hunk)",
    ]
    assert [each["how"] for each in json.loads(row["settled"])] == ["union", "whitespace"]


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_side_that_a_person_takes_is_merged_and_the_other_stays_reachable(
    crew: Crew, yard, proven_task: Proven, side: str
) -> None:
    dropped = request(crew, clash(crew, proven_task))["head_commit"]
    done = resolve(crew, side)
    merger.work_off(crew, "roadmap")
    row = request(crew, done)
    assert (row["status"], yard.at_roadmap("f")) == ("merged", side)
    assert yard.git(yard.repo, "rev-parse", f"{row['merge_commit']}^2") == dropped
    told = {"ours": "roadmap's side taken", "theirs": "the task's side taken"}[side]
    assert f"Conflicts settled as lead said:\n- f: {told} (1 hunk)" in message(crew, yard, done)


def test_a_conflict_of_names_is_settled_by_no_side_and_goes_to_review(crew: Crew, yard, proven_task: Proven) -> None:
    first = proven_task("B", {"d": "a file\n"})
    (yard.repo / "d").mkdir()
    second = proven_task("A", {"d/inner": "a folder\n"})
    merger.work_off(crew, "roadmap")
    assert (request(crew, first)["status"], request(crew, second)["status"]) == ("merged", "conflicted")
    done = resolve(crew, "theirs")
    merger.work_off(crew, "roadmap")
    assert request(crew, done)["status"] == "conflicted"
    task = yard.rows("SELECT status, needs_review, error_message FROM specs_task WHERE task_id = 'A'")[0]
    assert (task["status"], task["needs_review"]) == ("failed", 1)
    assert "taking theirs does not settle" in task["error_message"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_decision_survives_the_merger_that_was_to_carry_it_out(
    crew: Crew, yard, proven_task: Proven, moved: bool
) -> None:
    """Killed while it merged: the branch stands where it stood, or has moved and nothing is recorded."""
    clash(crew, proven_task)
    done = resolve(crew, "theirs")
    before = crew.repository.require_tip("roadmap")
    merger.work_off(crew, "roadmap")
    commit = request(crew, done)["merge_commit"]

    def as_killed(tx) -> None:
        tx.run(
            "UPDATE merge_request SET status = 'checking', candidate_commit = ?, merge_commit = NULL, ended_at = NULL "
            "WHERE merge_id = ?",
            (commit if moved else None, done),
        )
        tx.run("UPDATE orchestrator_task SET status = 'completed' WHERE task_id = 'A'")
        tx.run("UPDATE specs_task SET status = 'assigned', completed_at = NULL WHERE task_id = 'A'")

    crew.store.run(as_killed)
    if not moved:
        yard.git(yard.repo, "update-ref", "refs/heads/roadmap", before)
    merger.work_off(crew, "roadmap")
    assert (request(crew, done)["status"], yard.at_roadmap("f")) == ("merged", "theirs")
    assert yard.git(yard.repo, "rev-list", "--count", "--merges", "roadmap") == "2"


def test_an_agent_is_told_what_conflicts_and_what_both_sides_wanted(crew: Crew, yard, proven_task: Proven) -> None:
    first = proven_task("B", {"f": "ours\n"})
    crew.store.run(
        lambda tx: tx.run(
            "UPDATE specs_task SET title = 'Say ours', description = 'Because\n\nof reasons.' WHERE task_id = 'B'"
        )
    )
    second = proven_task("A", {"f": "theirs\n"})
    merger.work_off(crew, "roadmap")
    assert (request(crew, first)["status"], request(crew, second)["status"]) == ("merged", "conflicted")
    [row] = yard.rows("SELECT next_prompt FROM orchestrator_task WHERE task_id = 'A'")
    prompt = row["next_prompt"]
    assert "`f`: both sides added a file of this name" in prompt
    assert "- B: Say ours\n  Because\n  of reasons." in prompt
    assert "Their commits on roadmap:\n\n- B" in prompt
    assert "Yours:\n\n- A" in prompt


def test_a_side_is_taken_with_the_users_hooks_and_git_does_not_remember_it(
    crew: Crew, yard, proven_task: Proven
) -> None:
    (yard.repo / ".git" / "rr-cache").mkdir()  # git's own sign that it is to remember
    hook = yard.repo / ".git" / "hooks" / "commit-msg"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\necho "Seen-by: hook" >> "$1"\n')
    hook.chmod(0o755)
    clash(crew, proven_task)
    done = resolve(crew, "theirs")
    merger.work_off(crew, "roadmap")
    assert yard.at_roadmap("f") == "theirs"
    assert "the task's side taken" in message(crew, yard, done)
    assert "Seen-by: hook" in message(crew, yard, done)
    assert list((yard.repo / ".git" / "rr-cache").iterdir()) == []


def shell_agents(yard, steps: str, more: str = "") -> None:
    program = yard.folder / "agent.sh"
    program.write_text(steps)
    yard.configure(f'max_restarts = 1\n{more}[agents.shell]\ncommand = ["sh", "{program}"]\n')


def two(yard) -> Path:
    path: Path = yard.plan({"task_id": "A", "agent_type": "shell"}, {"task_id": "B", "agent_type": "shell"})
    return path


DECISIONS = {"keep it": "git add f", "delete it": "git rm -q f", "edit it": "echo both >> f", "remove it": "rm f"}


@pytest.mark.parametrize("decision", DECISIONS.values(), ids=DECISIONS)
@pytest.mark.parametrize("deleter", ["A", "B"])
def test_a_file_that_one_side_deletes_is_what_the_agent_decides(yard, decision: str, deleter: str) -> None:
    (yard.repo / "f").write_text("a\n")
    yard.git(yard.repo, "add", "f")
    yard.git(yard.repo, "commit", "-qm", "F")
    shell_agents(
        yard,
        f"if [ $CREWYARD_ATTEMPT = 1 ]; then\n"
        f"  if [ $CREWYARD_TASK_ID = {deleter} ]; then git rm -q f; else echo more >> f; fi\n"
        f"  git add -A; git commit -qm Change; sleep 0.5; exit 0\n"
        f"fi\n"
        f"grep -q 'holds no markers' $CREWYARD_PROMPT_FILE || exit 3\n"
        f"{decision}\n",
    )
    outcome = yard.run(two(yard))
    assert outcome.code == 0, outcome.err
    assert sorted(task["attempts"] for task in outcome.result["tasks"]) == [1, 2]
    assert ("f" in yard.git(yard.repo, "ls-tree", "--name-only", "roadmap").split()) is (
        decision in (DECISIONS["keep it"], DECISIONS["edit it"])
    )


def test_a_deletion_that_no_agent_decided_on_is_never_committed(yard) -> None:
    (yard.repo / "f").write_text("a\n")
    yard.git(yard.repo, "add", "f")
    yard.git(yard.repo, "commit", "-qm", "F")
    shell_agents(
        yard,
        "[ $CREWYARD_ATTEMPT = 1 ] || exit 0\n"
        "if [ $CREWYARD_TASK_ID = A ]; then git rm -q f; else echo more >> f; fi\n"
        "git add -A; git commit -qm Change; sleep 0.5\n",
    )
    outcome = yard.run(two(yard))
    assert outcome.code == 1
    loser = next(task for task in outcome.result["tasks"] if task["status"] == "review")
    assert "Conflicts are left in f" in loser["error"]["message"]


def test_a_conflict_that_comes_again_because_the_branch_moved_again_is_resolved_again(yard, script: Script) -> None:
    steps = script("1: write f.txt {0}", "1: sleep 0.6", "2-: resolve f.txt")
    plan = yard.plan(*({"task_id": name, "description": steps.replace("{0}", name)} for name in "ABC"))
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert sorted(yard.at_roadmap("f.txt").split()) == ["A", "B", "C"]


def test_markers_that_an_agent_committed_in_another_file_are_not_merged(yard) -> None:
    shell_agents(
        yard,
        "if [ $CREWYARD_ATTEMPT = 1 ]; then\n"
        "  echo $CREWYARD_TASK_ID > f; git add -A; git commit -qm C; sleep 0.5; exit 0\n"
        "fi\n"
        "[ -e g ] && { rm g; exit 0; }\n"
        "cp f g; echo both > f; git add -A; git commit -qm Resolved\n",
    )
    outcome = yard.run(two(yard))
    assert outcome.code == 0, outcome.err
    assert yard.git(yard.repo, "ls-tree", "--name-only", "roadmap").split() == ["README.md", "f"]
    assert max(task["attempts"] for task in outcome.result["tasks"]) == 3, "sent back once for its markers"


REPEATED = """
wait_for() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 600 ] || exit 9; sleep 0.05; done; }
case "$CREWYARD_TASK_ID$CREWYARD_ATTEMPT" in
  A1) echo ours > f ;;
  B1) echo theirs > f; echo x > bad; wait_for 'git cat-file -e refs/heads/roadmap:f 2>/dev/null' ;;
  B2) printf 'ours\\ntheirs\\n' > f ;;
  B3) touch ../../gate ;;
  C1) echo theirs > f; wait_for '[ -e ../../gate ]' ;;
  C2) grep -q 'A remembered resolution' "$CREWYARD_PROMPT_FILE" || exit 3 ;;
esac
"""


def test_a_resolution_of_the_same_conflict_is_put_in_and_its_agent_told(yard) -> None:
    """B resolves it and fails its check for something else; C has the very same conflict later."""
    shell_agents(yard, REPEATED, '[merge]\ncheck = ["test", "!", "-e", "bad"]\nmax_attempts = 2\n')
    (yard.repo / ".git" / "info" / "exclude").write_text("gate\n")
    outcome = yard.run(yard.plan(*({"task_id": name, "agent_type": "shell"} for name in "ABC")))
    assert [outcome.task(name)["status"] for name in "ABC"] == ["merged", "review", "merged"], outcome.err
    assert outcome.task("C")["attempts"] == 2
    assert yard.at_roadmap("f").split() == ["ours", "theirs"]


MOVES_ROADMAP = """
if [ $CREWYARD_ATTEMPT != 1 ]; then printf 'ours\\ntheirs\\n' > f; exit 0; fi
echo theirs > f; git add f; git commit -qm F
export GIT_INDEX_FILE=$PWD/../../data/index-of-the-test
git read-tree refs/heads/roadmap
git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),lib
git update-index --add --cacheinfo 100644,$(echo ours | git hash-object -w --stdin),f
git update-ref refs/heads/roadmap $(git commit-tree $(git write-tree) -p refs/heads/roadmap -m 'By hand')
"""


def test_a_submodule_that_the_branch_got_meanwhile_is_not_taken_for_the_agents(yard) -> None:
    shell_agents(yard, MOVES_ROADMAP)
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "shell"}))
    assert outcome.code == 0, outcome.err
    assert outcome.task("A")["attempts"] == 2
    assert yard.git(yard.repo, "ls-tree", "roadmap", "lib").startswith("160000")
    assert yard.at_roadmap("f").split() == ["ours", "theirs"]


def test_the_caller_of_resolve_hears_what_came_of_it(crew: Crew, yard, proven_task: Proven, wait_until) -> None:
    clash(crew, proven_task)
    operations = GitOperations(yard.repo, crew.settings)
    with ThreadPoolExecutor(1) as lead:
        asked = lead.submit(asyncio.run, operations.resolve("A", strategy="theirs", actor="lead"))
        wait_until(lambda: yard.holds("SELECT 1 FROM merge_request WHERE strategy = 'theirs'"))
        merger.work_off(crew, "roadmap")
        done = asked.result(timeout=30)
    assert done.settled == ["f: the task's side taken (1 hunk)"]
    assert done.merge_commit == crew.repository.tip("roadmap")
    with pytest.raises(IllegalTransition, match="there is no conflict to resolve"):
        asyncio.run(operations.resolve("A", strategy="agent", actor="lead"))
