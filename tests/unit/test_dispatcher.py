"""Which launches are let through, by a real database; and that ``why`` tells of each that is not (G-19, L-18)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import clock, dispatcher, dispatches, holds, lease, process, why
from crewyard.server.crew import Crew
from crewyard.server.gates import Load
from crewyard.server.repository import Repository
from crewyard.server.settings import Settings

NOW = "2026-01-01T00:00:00.000Z"
IDLE = Load(cpu_percent=5.0, free_memory_mb=8_000.0, free_disk_mb=50_000.0, disk_mb=100_000.0)
BUSY = Load(99.0, 8_000.0, 50_000.0, 100_000.0)
FULL_MEMORY = Load(5.0, 100.0, 50_000.0, 100_000.0)
FULL_DISK = Load(5.0, 8_000.0, 10.0, 100_000.0)
SETTINGS: dict[str, Any] = {
    "crew": {"default_agent": "builder"},
    "agents": {
        "builder": {"kind": "command", "command": ["true"]},
        "architect": {"kind": "command", "command": ["true"], "max_instances": 1},
    },
    "launch": {"max_per_minute": 4, "failed_starts_pauses": 1},
}


def later(seconds: float) -> str:
    return clock.plus(NOW, seconds)


class Yard:
    """The bench with a crew that holds the lease; ``look`` is one look of the dispatcher at a given moment."""

    def __init__(self, bench: Any, crew: Crew) -> None:
        self.bench, self.crew = bench, crew

    def dispatch(self, *task_ids: str, parallel: int = 10, **columns: Any) -> str:
        self.bench.add_tasks(*task_ids, **columns)
        row, _ = self.bench.store.run(
            dispatches.open_or_join, task_ids, max_parallel=parallel, agent_type=None, now=NOW, actor="lead"
        )
        return str(row["dispatch_id"])

    def look(self, at: float = 0.0, load: Load = IDLE) -> list[str]:
        """The tasks for which an agent is started, in order; their agents then run."""
        chosen = [row["task_id"] for row in self.only_look(at, load)]
        for task_id in chosen:
            agent_type = self.bench.row("orchestrator_task", task_id=task_id)["agent_type"]
            self.bench.add_agent(task_id, agent_type=agent_type, at=later(at))
        return chosen

    def only_look(self, at: float, load: Load = IDLE) -> list[Any]:
        rows: list[Any] = self.crew.write(dispatcher._choose, self.crew, load, later(at), lambda _row: False)
        return rows

    def fail(self, task_id: str, at: float, **how: Any) -> None:
        agent_id = self.bench.value(
            "SELECT agent_id FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid DESC", task_id
        )
        self.bench.finish(agent_id, "failed", code=1, at=later(at), **how)

    def why(self, task_id: str, at: float) -> str:
        bounds = why.Bounds("builder", {"architect": 1}, auto_approve=True)
        answer: why.Explanation = self.bench.store.read(why.explain, task_id, now=later(at), bounds=bounds)
        return answer.because

    def hold(self, scope: str, reason: str, until: float | None, at: float = 0.0) -> None:
        end = None if until is None else later(until)
        self.bench.store.run(holds.hold, scope, reason, f"the {reason}", until=end, now=later(at), actor="test")

    def held(self) -> list[tuple[str, str]]:
        return [(row["scope"], row["reason"]) for row in self.bench.store.read(holds.listed)]


@pytest.fixture
def yard(bench: Any, git_repo: Path) -> Iterator[Yard]:
    crew = Crew.of(Repository.discover(git_repo), Settings.model_validate(SETTINGS), bench.store)
    me = process.myself()
    holder = lease.Holder("test", me.pid, me.start_time, me.boot_id)
    crew.term = bench.store.run(lease.acquire, holder, now=clock.now(), uptime=clock.uptime()) or 0
    yield Yard(bench, crew)
    crew.runners.close()


# ------------------------------------------------------------------------------------------------ the machine


@pytest.mark.parametrize(("load", "reason"), [(FULL_MEMORY, "memory"), (FULL_DISK, "disk")])
def test_a_full_machine_starts_nobody_and_says_so_until_it_has_room(yard: Yard, load: Load, reason: str) -> None:
    yard.dispatch("A")
    assert yard.look(load=load) == []
    assert yard.held() == [("*", reason)]
    said = yard.why("A", 1)
    assert f"({reason}, since" in said
    assert "are free" in said
    assert yard.look(2.0, load) == [], "looked at again, and told as one hold"
    assert len(yard.held()) == 1
    assert yard.look(2.5) == ["A"], "room is not waited for any longer than it lacks"
    assert yard.held() == []


def test_a_busy_machine_lets_one_agent_through_every_five_seconds(yard: Yard) -> None:
    yard.dispatch("A", "B", "C")
    assert yard.look(0, BUSY) == ["A"], "with none at work one starts, however busy the machine is"
    assert yard.look(1, BUSY) == []
    assert "99 % busy" in yard.why("B", 2)
    assert yard.look(5.9, BUSY) == []
    assert yard.look(6, BUSY) == ["B"]
    assert yard.look(7, BUSY) == []
    assert yard.look(11, BUSY) == ["C"]
    assert yard.look(12) == []
    assert yard.held() == []


def test_launches_a_minute_are_bounded_and_told(yard: Yard) -> None:
    yard.dispatch(*"ABCDEF")
    assert yard.look(0) == list("ABCD")
    assert yard.look(1) == []
    assert "4 agents were launched in the last minute" in yard.why("E", 2)
    assert yard.look(60.001) == ["E", "F"]
    assert yard.held() == []


def test_what_was_stopped_stays_so_until_somebody_wants_it(yard: Yard) -> None:
    yard.dispatch("A")
    yard.hold("*", "stopped", None)
    assert yard.look(1) == yard.look(1e6) == []
    assert "(stopped, since" in yard.why("A", 1e6)
    yard.bench.store.run(holds.lift_stop, now=NOW, actor="lead")
    assert yard.look(1e6 + 1) == ["A"]


# ------------------------------------------------------------------------------------------- types of agents


def test_a_hold_of_one_type_leaves_the_others_alone(yard: Yard) -> None:
    yard.dispatch("A", "B")
    yard.dispatch("C", agent_type="architect")
    yard.hold("builder", "quota", 100)
    assert yard.look(1) == ["C"]
    assert f"until {later(100)} (quota, since" in yard.why("A", 1)


def test_after_a_providers_limit_one_agent_goes_first(yard: Yard) -> None:
    yard.dispatch("A", "B", "C")
    yard.hold("builder", "quota", 100)
    assert yard.look(100) == ["A"]
    assert yard.look(101) == [], "one at a time"
    assert "on trial" in yard.why("B", 101)
    assert yard.look(105) == [], "a program may take its time before it says so again"
    assert yard.look(100 + holds.QUOTA_TRIAL_SECONDS) == ["B", "C"]


def test_a_trial_that_meets_the_limit_again_holds_the_rest_for_longer(yard: Yard) -> None:
    yard.dispatch("A", "B")
    assert yard.look(0) == ["A", "B"]
    for task_id in "AB":
        yard.fail(task_id, 30, said="usage limit reached")
    assert yard.look(329.9) == []
    assert yard.look(330) == ["A"]
    yard.fail("A", 332, said="usage limit reached")
    assert yard.look(900) == []
    assert len(yard.look(932)) == 1
    assert yard.bench.value("SELECT max(retry_count) FROM orchestrator_task") == 0


def test_the_trial_of_a_type_that_failed_to_start_is_made_on_a_task_that_has_not_failed(yard: Yard) -> None:
    yard.dispatch("A", "B", "C", "D")
    yard.bench.store.run(lambda tx: tx.run("UPDATE dispatch SET max_parallel = 3"))
    assert yard.look(0) == ["A", "B", "C"]
    for n, task_id in enumerate("ABC"):
        yard.fail(task_id, 1 + n)
    assert yard.held() == [("builder", "failed_starts")]
    assert yard.look(5) == []
    assert "failed to start on 3 tasks" in yard.why("A", 5)
    assert "failed to start on 3 tasks" in yard.why("D", 5)
    assert yard.look(13) == ["D"], "a task that may well be sound"


def test_a_type_whose_trials_all_failed_is_given_up_and_the_others_go_on(yard: Yard) -> None:
    yard.dispatch("A", "B", "C", "D", "E")
    yard.dispatch("Z", agent_type="architect")
    assert yard.look(0) == ["A", "B", "C", "D"]
    for n, task_id in enumerate("ABCD"):
        yard.fail(task_id, 1 + n)
    assert yard.look(70) in (["E", "Z"], ["Z", "E"])
    yard.fail("E", 71)
    assert yard.look(1000) == []
    ends = {row["task_id"]: row for row in yard.bench.store.read(lambda tx: tx.all("SELECT * FROM specs_task"))}
    assert {name: (row["status"], row["needs_review"]) for name, row in ends.items() if name != "Z"} == dict.fromkeys(
        "ABCDE", ("failed", 1)
    )
    assert ends["Z"]["status"] == "in_progress"
    assert ends["A"]["error_code"] == "spawn_failed"
    assert "failed to start" in yard.why("A", 1000)
    assert yard.held() == [], "whoever opens a task again may try"


# ------------------------------------------------------------------------------------------------ slots and order


def test_a_restart_goes_before_new_tasks_and_takes_a_slot(yard: Yard) -> None:
    yard.dispatch("A", "B", parallel=1)
    assert yard.look(0) == ["A"]
    yard.fail("A", 30)
    assert yard.look(31.9) == ["B"], "while A waits for its delay its slot is not kept"
    assert yard.look(32) == []
    assert "1 of 1 agents" in yard.why("A", 33)
    yard.fail("B", 40)
    assert yard.look(41) == ["A"]


def test_a_restart_waits_for_its_types_instances_and_says_so(yard: Yard) -> None:
    yard.dispatch("A", "B", agent_type="architect")
    assert yard.look(0) == ["A"]
    yard.fail("A", 30)
    assert yard.look(31) == ["B"]
    assert yard.look(40) == []
    assert "max_instances" in yard.why("A", 41)


def test_a_trial_whose_worktree_is_still_being_made_lets_no_other_through(yard: Yard) -> None:
    """Every ring of the bell is another look, and a large repository's worktree takes seconds."""
    yard.dispatch("A", "B", "C")
    yard.hold("builder", "quota", 10)
    chosen = yard.crew.write(dispatcher._choose, yard.crew, IDLE, later(11), lambda _row: False)
    assert [row["task_id"] for row in chosen] == ["A"]
    under_way = {row["task_id"] for row in chosen}
    again = yard.crew.write(dispatcher._choose, yard.crew, IDLE, later(12), lambda row: row["task_id"] in under_way)
    assert again == []


def test_a_type_that_is_held_starves_no_other_however_many_of_its_tasks_come_first(yard: Yard) -> None:
    many = [f"A{n:03d}" for n in range(220)]
    yard.bench.add_tasks(*many, priority=1)
    yard.bench.add_tasks("Z", priority=9, agent_type="architect")
    yard.bench.store.run(dispatches.open_or_join, [*many, "Z"], max_parallel=2, agent_type=None, now=NOW, actor="lead")
    yard.hold("builder", "quota", 100)
    assert yard.look(1) == ["Z"]
