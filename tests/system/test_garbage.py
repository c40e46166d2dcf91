"""git collects garbage when nothing is at work any more, and never beside a worktree that lives (C-36)."""

import sys
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import clock, garbage, janitor, process, worktrees
from crewyard.server.crew import Crew

NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def littered(yard) -> Any:
    """A yard whose repository holds more loose objects than its settings allow."""
    yard.git(yard.repo, "config", "gc.auto", "1")
    folder = yard.folder / "litter"
    folder.mkdir()
    for number in range(2_000):
        (folder / str(number)).write_text(f"{number}\n")
    yard.git(yard.repo, "hash-object", "-w", "--", *sorted(folder.iterdir()))
    assert packs(yard) == 0
    return yard


def packs(yard: Any) -> int:
    counted = dict(line.split(": ") for line in yard.git(yard.repo, "count-objects", "-v").splitlines())
    return int(counted["packs"])


def test_garbage_is_collected_at_the_end_of_a_run_and_not_while_a_worktree_lives(littered: Any) -> None:
    yard = littered
    plan = yard.gated_plan()
    running = yard.start(plan)
    running.until("A: waiter")
    assert packs(yard) == 0
    yard.open_gate()
    running.until("A: done")
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("git gc packed the repository's objects") == 1
    assert packs(yard) == 1
    order = "SELECT kind FROM event WHERE kind IN ('worktree_cleaned', 'garbage_looked_at', 'dispatch_completed') "
    assert [row["kind"] for row in yard.rows(f"{order} ORDER BY event_id")] == [
        "worktree_cleaned", "worktree_cleaned", "garbage_looked_at", "dispatch_completed",
    ]  # fmt: skip
    assert yard.processes() == []


def test_a_run_whose_settings_say_no_leaves_the_objects_as_they_are(littered: Any) -> None:
    yard = littered
    yard.configure("[worktree]\ngc = false\n")
    outcome = yard.run(yard.plan({"task_id": "A"}))
    assert outcome.code == 0, outcome.err
    assert packs(yard) == 0
    assert not yard.rows("SELECT 1 FROM event WHERE subject_type = 'repository'")


def test_a_worktree_that_stays_keeps_garbage_from_being_collected(littered: Any, script: Any) -> None:
    yard = littered
    yard.configure("max_restarts = 0\n")
    outcome = yard.run(yard.plan({"task_id": "A"}, {"task_id": "B", "description": script("write x y", "fail 3")}))
    assert outcome.code == 1, outcome.err
    assert packs(yard) == 0


def test_a_collection_that_was_cut_off_is_not_begun_again_before_something_else_was_removed(
    crew: Crew, wait_until: Any
) -> None:
    assert not crew.store.read(garbage.is_due), "nothing was removed yet"
    _clean(crew, "A")
    assert crew.store.read(garbage.is_due)
    began = clock.now()
    crew.store.run(garbage.begin, now=began, actor="test")  # and here its server was killed
    assert not crew.store.read(garbage.is_due)
    wait_until(lambda: clock.now() > began)  # times are told in milliseconds
    _clean(crew, "B")
    assert crew.store.read(garbage.is_due)
    _begin(crew, "C")
    assert not crew.store.read(garbage.is_due), "a worktree lives"


def test_collecting_ends_with_the_supervisor_that_began_it(crew: Crew, wait_until: Any, tmp_path: Path) -> None:
    """As `crewyard run` does on Ctrl-C: it is not waited for."""
    from threading import Thread

    from crewyard.server import journals, runners

    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    crew.repository.collecting = lambda: waits  # type: ignore[method-assign]  # stands for a gc that takes long
    thread = Thread(target=janitor.collect_garbage, args=(crew,))
    thread.start()
    claim = crew.paths.garbage_log.with_suffix(".run")
    wait_until(lambda: journals.runner_of(claim))
    runner = process.Identity(*journals.runner_of(claim), process.boot_id())  # type: ignore[misc]
    crew.stopping.set()
    runners.end_check(crew.paths.garbage_log)
    thread.join(20)
    assert not thread.is_alive()
    assert not process.is_alive(runner)


def _begin(crew: Crew, task_id: str) -> int:
    def begin(tx: Any) -> int:
        tx.run(
            "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) VALUES (?, ?, 'cancelled', ?, ?)",
            (task_id, task_id, NOW, NOW),
        )
        made = worktrees.plan(
            tx, task_id, path=f"/w/{task_id}", branch=f"b-{task_id}", base_branch="roadmap", base_commit="c0ffee",
            now=NOW, actor="test",
        )  # fmt: skip
        return made.worktree_id

    return crew.store.run(begin)


def _clean(crew: Crew, task_id: str) -> None:
    worktree_id = _begin(crew, task_id)
    crew.store.run(worktrees.change, worktree_id, "cleaned", now=clock.now(), actor="test")
