"""Document 003 with real workers: processes of kind ``scripted``, under a daemon that is really killed."""

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from yards import CREWYARD, Yard, script, wait_until

from crewyard.server import clock, lease, process, settings
from crewyard.server.process import Identity
from crewyard.server.store import Row, Store, Transaction
from crewyard.server.workflows import items, projects, stops, workers
from crewyard.server.workflows.pipeline import Pipeline

LEAD = "lead"
# What was minutes is seconds here.
CONFIGURATION = """\
[crew]
restart_backoff_seconds = 0.05
grace_period_seconds = 1
[agents.hand]
kind = "scripted"
[health]
check_interval_seconds = 0.5
warn_after_seconds = 1.0  # its runner notes signs of life four times as often
[workflows]
watch_seconds = 0.2
heartbeat_minutes = 0.05
"""
GENESIS = ("write genesis.md made", "commit genesis", "output repository_url=https://example.org/shop")
DEVELOPMENT = ("append genesis.md developed", "commit development", "output deployment_url=https://shop.example.org")
CONTENT = ("write content.md said", "commit content", "output pieces=3")
STAGES = ("genesis", "development", "content")
SCRIPTS = {"genesis": GENESIS, "development": DEVELOPMENT, "content": CONTENT}


@dataclass
class Works:
    """A repository whose daemon carries projects through the three stages."""

    yard: Yard

    def configure(self, more: str = "", **steps: tuple[str, ...]) -> None:
        """``steps``: what the agents of a stage do; none where what each project says is to be done."""
        text = CONFIGURATION + more
        for name in STAGES:
            told = script(*steps[name]) if name in steps else ""
            text += f'[workflows.stages.{name}]\nagent = "hand"\nmin_workers = 2\ninstructions = {json.dumps(told)}\n'
            text += 'hands_over = "deployed"\n' if name == "development" else ""
        text += '[workflows.stages.genesis.output]\ntype = "object"\nrequired = ["repository_url"]\n'
        (self.yard.repo / "crewyard.toml").write_text(text)
        self.store = Store(self.yard.repo / "data/orchestrator.db")
        asked = settings.load(self.yard.repo).workflows
        assert asked is not None
        self.line = Pipeline(asked)

    def start(self) -> Identity:
        done = subprocess.run(
            [*CREWYARD, "start", "--json", "--repo", str(self.yard.repo)], capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout)
        self.daemon = Identity(told["pid"], told["start_time"], told["boot_id"])
        return self.daemon

    def kill(self) -> None:
        process.send(self.daemon, signal.SIGKILL)
        assert process.wait_until_gone(self.daemon, 10)

    def run(self, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.store.run(unit, *args, now=clock.now(), actor=LEAD, **kwargs)

    def dispatch(self, text: str = "Make a shop") -> str:
        def unit(tx: Transaction, *, now: str, actor: str) -> str:
            row = projects.create(tx, projects.Draft(text), self.line.first, now=now, actor=actor)
            items.enqueue(tx, row["project_id"], self.line.first, now=now, actor=actor)
            return str(row["project_id"])

        return str(self.run(unit))

    def project(self, project_id: str) -> Row:
        return self.store.read(projects.get, project_id)

    def items(self, project_id: str) -> list[Row]:
        return self.store.read(
            lambda tx: tx.all("SELECT * FROM queue_item WHERE project_id = ? ORDER BY item_id", (project_id,))
        )

    def count_of_items(self, status: str | None = None) -> int:
        sql = "SELECT count(*) FROM queue_item WHERE ? IS NULL OR status = ?"
        return int(self.store.read(lambda tx: tx.value(sql, (status, status))))

    def item(self, project_id: str) -> Row:
        return self.items(project_id)[-1]

    def agents(self, task_id: str) -> list[Row]:
        sql = "SELECT * FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid"
        return self.store.read(lambda tx: tx.all(sql, (task_id,)))

    def until_project(self, project_id: str, status: str, seconds: float = 60) -> None:
        wait_until(lambda: self.project(project_id)["status"] == status, seconds)

    def until_at_work(self, project_id: str, workflow: str) -> Row:
        """Its agent in that stage runs; returns its item."""

        def runs() -> bool:
            item = self.item(project_id)
            live = [row for row in self.agents(item["task_id"] or "") if row["status"] == "running"]
            return item["workflow"] == workflow and bool(live)

        wait_until(runs, 60)
        return self.item(project_id)


@pytest.fixture
def works(yard: Yard) -> Iterator[Works]:
    made = Works(yard)
    yield made
    subprocess.run([*CREWYARD, "stop", "--repo", str(yard.repo)], capture_output=True, check=False)
    made.store.close()


def commits(works: Works) -> list[str]:
    """What the agents said of their commits on the integration branch."""
    return works.yard.git(works.yard.repo, "log", "--no-merges", "--format=%s", "roadmap").splitlines()


def own_script(number: int) -> str:
    """What a project's agents do in each stage, in a file of its own."""
    output = f"output repository_url=https://example.org/{number} deployment_url=https://{number}.example.org"
    return f"Thing {number}\n\n" + script(f"append {number}.md more", f"commit 'thing {number}'", output)


def test_a_project_flows_from_dispatch_to_content_with_real_workers(works: Works) -> None:
    works.configure(**SCRIPTS)
    works.start()
    name = works.dispatch()
    works.until_project(name, "completed")

    assert [(row["workflow"], row["status"]) for row in works.items(name)] == [(stage, "done") for stage in STAGES]
    project = works.project(name)
    assert project["repository_url"] == "https://example.org/shop"
    assert project["deployment_url"] == "https://shop.example.org"
    assert commits(works)[:3] == ["content", "development", "genesis"]
    assert works.yard.at_roadmap("genesis.md") == "made\ndeveloped"


@pytest.mark.parametrize("stage", STAGES)
def test_a_server_that_is_killed_in_a_stage_takes_the_project_on_where_it_was(works: Works, stage: str) -> None:
    """What its agent does meanwhile is found when the next server starts."""
    works.configure(**SCRIPTS | {stage: ("sleep 0.7", *SCRIPTS[stage])})
    works.start()
    name = works.dispatch()
    [agent] = works.agents(works.until_at_work(name, stage)["task_id"])
    works.kill()
    assert process.wait_until_gone(Identity(agent["pid"], agent["pid_start_time"], agent["boot_id"]), 20)
    works.start()

    works.until_project(name, "completed")
    assert [row["status"] for row in works.items(name)] == ["done"] * 3
    assert [len(works.agents(row["task_id"])) for row in works.items(name)] == [1, 1, 1]
    assert commits(works)[:3] == ["content", "development", "genesis"]


def test_a_server_that_is_killed_again_and_again_loses_and_doubles_nothing(works: Works) -> None:
    works.configure()
    works.start()
    names = [works.dispatch(own_script(number)) for number in range(4)]
    for done in (1, 4, 7):
        wait_until(lambda: works.count_of_items("done") >= done, 90)  # noqa: B023
        works.kill()
        works.start()
    for name in names:
        works.until_project(name, "completed", 90)
    assert works.count_of_items("done") == works.count_of_items() == 12
    assert [commits(works).count(f"thing {number}") for number in range(4)] == [3, 3, 3, 3]


def test_r235_what_fails_for_good_comes_to_the_review_queue_and_its_worker_goes_on(works: Works) -> None:
    works.configure(**SCRIPTS | {"development": ("fail 3",)})
    works.start()
    name = works.dispatch()
    works.until_project(name, "review")

    [item] = works.store.read(items.in_review)
    assert (item["project_id"], item["workflow"]) == (name, "development")
    assert "exit code 3" in item["error_message"]
    assert works.store.read(workers.get, item["worker_id"])["status"] == "idle"


def test_r222_what_waits_is_foretold_by_the_daemon_and_held_against_what_came(works: Works) -> None:
    works.configure()
    works.start()
    names = [works.dispatch(own_script(number)) for number in range(12)]
    for name in names:
        works.until_project(name, "completed", 120)

    rows = works.store.read(lambda tx: tx.all("SELECT * FROM forecast"))
    assert rows, "with five finished items of a stage something is said of those that wait"
    assert all(row["made_at"] < row["actual_at"] for row in rows)
    assert all(row["p50_at"] <= row["p90_at"] and row["samples"] >= 5 for row in rows)


def test_r219_an_emergency_stop_ends_the_agent_keeps_its_work_and_starts_nothing_until_it_is_resumed(
    works: Works,
) -> None:
    works.configure(**SCRIPTS | {"genesis": ("1: write half.md half", "1: sleep 600", *GENESIS)})
    works.start()
    name = works.dispatch()
    task = works.until_at_work(name, "genesis")["task_id"]
    [worktree] = {row["workspace"] for row in works.agents(task)}
    wait_until((Path(worktree) / "half.md").exists)

    works.run(stops.stop, name, why="It sends mail.", grace_seconds=1.0)
    wait_until(lambda: works.item(name)["status"] == "held")
    assert works.project(name)["status"] == "held"
    assert (Path(worktree) / "half.md").read_text() == "half\n"
    works.kill()
    works.start()  # it is as true for the next server
    begun = works.store.read(lease.current)["until_monotonic"]
    wait_until(lambda: works.store.read(lease.current)["until_monotonic"] > begun + lease.RENEW_SECONDS)
    assert [row["status"] for row in works.agents(task)] == ["killed"]

    works.run(stops.resume, works.line, name, why="The mail is off.")
    works.until_project(name, "completed")
    assert works.yard.at_roadmap("half.md") == "half"
    assert [row["attempt"] for row in works.agents(task)] == [1, 2]
