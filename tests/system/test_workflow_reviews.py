"""What a person decides of a project, carried out by real workers: an emergency stop, a way out of review."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from yards import CREWYARD, Yard, wait_until

from crewyard.server import agents, process
from crewyard.server.process import Identity
from crewyard.server.workflows import reviews, stops

from .test_workflows import DEVELOPMENT, GENESIS, SCRIPTS, Works


@pytest.fixture
def works(yard: Yard) -> Iterator[Works]:
    made = Works(yard)
    yield made
    subprocess.run([*CREWYARD, "stop", "--repo", str(yard.repo)], capture_output=True, check=False)
    made.store.close()


@pytest.mark.parametrize("is_to_restart", [False, True])
def test_a_stop_that_no_server_saw_is_carried_out_by_the_next_one(works: Works, is_to_restart: bool) -> None:
    works.configure(**SCRIPTS | {"genesis": ("1: sleep 600", *GENESIS)})
    told = works.yard.repo / "crewyard.toml"
    told.write_text(told.read_text().replace("heartbeat_minutes = 0.05", "heartbeat_minutes = 5.0"))  # no failover
    works.start()
    name = works.dispatch()
    task = works.until_at_work(name, "genesis")["task_id"]
    [agent] = works.agents(task)
    runs = Identity(agent["pid"], agent["pid_start_time"], agent["boot_id"])
    works.kill()
    if is_to_restart:  # asked for before: its next agent would start at once
        works.run(agents.request_kill, agent["agent_id"], reason="stalled", outcome="restart", grace_seconds=1.0)
    works.run(stops.stop, name, why="It sends mail.", grace_seconds=1.0)
    assert process.is_alive(runs)

    works.start()
    wait_until(lambda: works.item(name)["status"] == "held", 60)
    assert not process.is_alive(runs)
    assert [row["status"] for row in works.agents(task)] == ["killed"]
    works.run(stops.resume, works.line, name, why="")
    works.until_project(name, "completed")


def test_what_a_review_sends_back_is_done_by_a_worker_that_is_told_why(works: Works) -> None:
    failures = tuple(f"{attempt}: fail 3" for attempt in range(1, 5))
    works.configure(**SCRIPTS | {"development": (*failures, *DEVELOPMENT)})
    works.start()
    name = works.dispatch()
    works.until_project(name, "review")
    works.run(reviews.decide, works.line, reviews.Verdict(name, "retry", "Mind the hats."))
    works.until_project(name, "completed")

    item = works.items(name)[1]
    assert (item["workflow"], item["rework_count"]) == ("development", 1)
    *_, last = works.agents(item["task_id"])
    told = (Path(last["run_dir"]) / "prompt.md").read_text()
    assert "A review of it said: Mind the hats." in told
    assert "exit code 3" in told
