"""Branches that would collide are seen while both are worked on, and the later one's agent is told (design 6)."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import assignments, clock, collisions, events, states, tasks, worktrees
from crewyard.server.crew import Crew
from crewyard.server.errors import LeaseLost
from crewyard.server.radar import Radar

NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def crossing(yard) -> Path:
    """A plan of two tasks whose agents commit to the same line of f.txt, and go on when told to (``go``)."""
    program = yard.folder / "agent.sh"
    program.write_text(
        "echo $CREWYARD_TASK_ID > f.txt; git add f.txt; git commit --quiet -m $CREWYARD_TASK_ID\n"
        f"while [ ! -e '{yard.folder}/go-'$CREWYARD_TASK_ID ]; do sleep 0.02; done\n"
    )
    yard.configure(f'[agents.writer]\ncommand = ["sh", "{program}"]\n')
    return yard.plan(
        {"task_id": "A", "agent_type": "writer", "title": "Colour it red"},
        {"task_id": "B", "agent_type": "writer"},
        name="crossing.json",
    )


def go(yard, task_id: str) -> None:
    (yard.folder / f"go-{task_id}").touch()


def started_first(yard) -> tuple[str, str]:
    first, second = (
        row["task_id"] for row in yard.rows("SELECT task_id FROM git_worktree_tracker ORDER BY 1 * worktree_id")
    )
    return first, second


def standing(yard) -> list[tuple[str, str, list[str]]]:
    rows = yard.rows("SELECT earlier_task, later_task, files FROM branch_conflict WHERE files <> '[]'")
    return [(row[0], row[1], json.loads(row[2])) for row in rows]


def warnings(yard) -> list[tuple[str, dict[str, Any]]]:
    rows = yard.rows("SELECT to_agent, content FROM agent_message WHERE message_type = 'conflict_warning' ORDER BY id")
    return [(row[0], json.loads(row[1])) for row in rows]


def agent_of(yard, task_id: str) -> str:
    return str(yard.rows("SELECT agent_id FROM agent_lifecycle WHERE task_id = ?", task_id)[-1][0])


def test_two_agents_on_one_line_are_seen_and_the_later_is_told_once(yard, crossing: Path, wait_until: Any) -> None:
    running = yard.start(crossing)
    running.until("would conflict with")
    first, second = started_first(yard)
    assert standing(yard) == [(first, second, ["f.txt"])]
    [(reader, content)] = warnings(yard)
    assert reader == agent_of(yard, second)
    assert (content["other_task_id"], content["other_agent_id"]) == (first, agent_of(yard, first))
    assert content["files"] == ["f.txt"]

    worktree = yard.repo / f".worktrees/implementation_task-{second}"
    (worktree / "other.txt").write_text("beside it\n")
    yard.git(worktree, "add", ".")
    yard.git(worktree, "commit", "--quiet", "--message=More, and still on that line")
    head = yard.git(worktree, "rev-parse", "HEAD")
    wait_until(lambda: yard.rows("SELECT 1 FROM branch_conflict WHERE later_head = ?", head))
    assert len(warnings(yard)) == 1, "it was told of these files"

    yard.git(worktree, "rm", "--quiet", "f.txt")
    yard.git(worktree, "commit", "--quiet", "--message=Not on that line any more")
    wait_until(lambda: not standing(yard))
    go(yard, "A")
    go(yard, "B")
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert len(warnings(yard)) == 1
    assert yard.at_roadmap("f.txt") == first


def test_what_was_merged_meanwhile_stays_in_the_way_of_the_other_until_that_has_merged_it(
    yard, crossing: Path, wait_until: Any
) -> None:
    running = yard.start(crossing)
    running.until("would conflict with")
    first, second = started_first(yard)
    go(yard, second)  # who began later is merged first: now it is the other's to deal with
    wait_until(lambda: standing(yard) == [(second, first, ["f.txt"])])
    assert [reader for reader, _ in warnings(yard)] == [agent_of(yard, second), agent_of(yard, first)]
    told = warnings(yard)[1][1]
    assert told["other_task_is_merged"]
    assert "git merge roadmap" in told["message"]

    worktree = yard.repo / f".worktrees/implementation_task-{first}"
    yard.git(worktree, "merge", "--quiet", "--strategy-option=ours", "--no-edit", "roadmap")
    wait_until(lambda: not standing(yard))
    go(yard, first)
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert len(warnings(yard)) == 2


# -------------------------------------------------------------------------------- one look, with nobody else at work


@pytest.fixture
def branch(crew: Crew, git: Callable[..., str]) -> Callable[..., str]:
    """``branch(task, file=text, …)``: an unfinished task with a branch of one more commit; returns its head."""

    def make(task_id: str, **files: str) -> str:
        name = f"b-{task_id}"
        if not crew.store.read(lambda tx: tx.one("SELECT 1 FROM specs_task WHERE task_id = ?", (task_id,))):
            crew.store.run(_begin, task_id, name, crew.repository.require_tip("roadmap"))
            git(crew.root, "branch", name, "roadmap")
        git(crew.root, "switch", "--quiet", name)
        for file, text in files.items():
            (crew.root / file).write_text(text)
        git(crew.root, "add", "--", *files)
        git(crew.root, "commit", "--quiet", f"--message=By {task_id}")
        git(crew.root, "switch", "--quiet", "main")
        return git(crew.root, "rev-parse", name)

    return make


def _begin(tx: Any, task_id: str, name: str, base: str) -> None:
    tx.run(
        "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) VALUES (?, ?, 'ready', ?, ?)",
        (task_id, f"Task {task_id}", NOW, NOW),
    )
    assignments.create(tx, tasks.get(tx, task_id), agent_type="x", dispatch_id=None, now=NOW, actor="test")
    made = worktrees.plan(
        tx, task_id, path=f"/w/{task_id}", branch=name, base_branch="roadmap", base_commit=base, now=NOW, actor="test"
    )
    worktrees.change(tx, made.worktree_id, "active", now=NOW, actor="test")


def seen(crew: Crew) -> list[tuple[str, str, list[str]]]:
    return [(each.task_a, each.task_b, each.files) for each in crew.store.read(collisions.standing)]


def test_only_pairs_of_which_a_head_changed_are_tried_again(
    crew: Crew, branch: Any, git: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    radar = Radar()

    def asked(radar: Radar) -> list[str]:
        """The questions that one look puts to a git of its own."""
        trace.unlink(missing_ok=True)
        monkeypatch.setenv("GIT_TRACE", str(trace))
        radar.look(crew)
        monkeypatch.delenv("GIT_TRACE")
        return re.findall(r"built-in: git ([a-z-]+)", trace.read_text()) if trace.exists() else []

    branch("A", f="a")
    branch("B", f="b")
    branch("C", g="c")
    assert asked(radar).count("merge-tree") == 3
    assert seen(crew) == [("A", "B", ["f"])]
    assert asked(radar) == []
    branch("C", f="c")
    assert asked(radar).count("merge-tree") == 2
    assert seen(crew) == [("A", "B", ["f"]), ("A", "C", ["f"]), ("B", "C", ["f"])]
    assert asked(Radar()) == [], "another supervisor finds the pairs in the database"
    git(crew.root, "update-ref", "refs/heads/roadmap", branch("D", h="d"))
    assert asked(radar).count("merge-tree") == 3 + 4, "the new one with each, and each with the integration branch"


def test_a_look_leaves_no_object_behind(crew: Crew, branch: Any, git: Callable[..., str]) -> None:
    branch("A", f="a\n" * 100)
    branch("B", f="b\n" * 100)
    before = git(crew.root, "count-objects", "-v")
    Radar().look(crew)
    assert seen(crew)
    assert git(crew.root, "count-objects", "-v") == before


def test_what_the_merger_resolves_by_itself_is_no_collision(yard, crew: Crew, branch: Any, git: Any) -> None:
    git(crew.root, "switch", "--quiet", "roadmap")
    (crew.root / "CHANGELOG.md").write_text("# Changes\n")
    git(crew.root, "add", "CHANGELOG.md")
    git(crew.root, "commit", "--quiet", "--message=Begin")
    git(crew.root, "switch", "--quiet", "main")
    branch("A", **{"CHANGELOG.md": "# Changes\n- a\n"})
    branch("B", **{"CHANGELOG.md": "# Changes\n- b\n"})
    Radar().look(crew)
    assert seen(crew) == [("A", "B", ["CHANGELOG.md"])]
    crew.store.run(lambda tx: tx.run("DELETE FROM branch_conflict"))
    merge = crew.settings.merge.model_copy(update={"union": ["CHANGELOG.md"]})
    crew.settings = crew.settings.model_copy(update={"merge": merge})
    Radar().look(crew)
    assert seen(crew) == []


def test_a_task_that_is_given_up_collides_no_more(crew: Crew, branch: Any, wait_until: Any) -> None:
    branch("A", f="a")
    branch("B", f="b")
    radar = Radar()
    radar.look(crew)
    work = crew.store.read(assignments.of_task, "A")
    give_up = {"code": "x", "message": "x", "review": True, "now": NOW, "actor": "test"}
    crew.store.run(assignments.give_up, work["orchestrator_task_id"], **give_up)
    assert seen(crew) == [], "at once, whatever is still on record"
    wait_until(lambda: radar.is_due(crew))
    radar.look(crew)
    assert crew.store.read(collisions.pairs) == []


def test_a_look_is_followed_by_a_rest_whatever_happens_meanwhile(crew: Crew, branch: Any, wait_until: Any) -> None:
    branch("A", f="a")
    branch("B", f="b")
    radar = Radar()
    radar.look(crew)
    rest = radar.seconds_to_rest()
    work = crew.store.read(assignments.of_task, "A")
    give_up = {"code": "x", "message": "x", "review": True, "now": NOW, "actor": "test"}
    crew.store.run(assignments.give_up, work["orchestrator_task_id"], **give_up)
    assert rest is not None
    assert not radar.is_due(crew)
    wait_until(lambda: radar.seconds_to_rest() is None)
    assert radar.is_due(crew)


def test_branches_without_a_common_ancestor_do_not_stop_the_look(crew: Crew, branch: Any, git: Any) -> None:
    for task_id in ("A", "B", "C"):
        branch(task_id, f=task_id)
    stranger = git(crew.root, "commit-tree", "b-A^{tree}", "-m", "From nowhere")
    git(crew.root, "update-ref", "refs/heads/b-A", stranger)
    Radar().look(crew)
    assert seen(crew) == [("B", "C", ["f"])]


def test_a_radar_that_lost_the_lease_writes_nothing(crew: Crew, branch: Any) -> None:
    branch("A", f="a")
    branch("B", f="b")
    crew.term += 1
    radar = Radar()
    with pytest.raises(LeaseLost):
        radar.look(crew)
    assert crew.store.read(collisions.pairs) == []
    crew.term -= 1
    radar.look(crew)
    assert seen(crew) == [("A", "B", ["f"])]


def test_nothing_is_due_while_nobody_works_and_nothing_has_happened(crew: Crew, branch: Any) -> None:
    radar = Radar()
    branch("A", f="a")
    assert not radar.is_due(crew)
    crew.store.run(
        events.record,
        now=clock.now(),
        actor="t",
        subject_type="merge",
        subject_id=1,
        kind=f"{states.MERGE.subject}_merged",
    )
    assert radar.is_due(crew)
    radar.look(crew)
    assert not radar.is_due(crew)
