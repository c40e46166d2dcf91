"""A summary of a real run: what its events alone say, and what its agents said that they used (R-153 to R-157)."""

import contextlib
import json
import sqlite3
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any

import recount

from .conftest import CREWYARD

USED = {
    "type": "result",
    "total_cost_usd": 0.25,
    "usage": {"input_tokens": 100, "cache_read_input_tokens": 900, "output_tokens": 40},
}

OUT_OF_TURN_MS = 20


def crewyard(yard: Any, *arguments: str) -> str:
    done = subprocess.run(
        [*CREWYARD, *arguments, "--repo", str(yard.repo)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_with_a_failure_and_a_conflict(yard: Any, script: Any) -> None:
    program = yard.folder / "paid.sh"
    program.write_text(f"echo x > paid.txt; echo '{json.dumps(USED)}'\n")
    yard.configure(f'[agents.paid]\ncommand = ["sh", "{program}"]\n')
    plan = yard.plan(
        {"task_id": "paid", "agent_type": "paid"},
        {
            "task_id": "flaky",
            "description": script("1: fail 3", "write flaky.txt f", "commit f"),
            "depends_on": ["paid"],
        },
        {"task_id": "left", "description": script("write both.txt left", "commit l", "resolve both.txt")},
        {
            "task_id": "right",
            "description": script("sleep 0.3", "write both.txt right", "commit r", "resolve both.txt"),
        },
        {
            "task_id": "last",
            "description": script("write last.txt l", "commit l"),
            "depends_on": ["flaky", "left", "right"],
        },
    )
    assert yard.run(plan, "--max-parallel", "2").code == 0


def test_r153_r155_r157_the_summary_of_a_real_run_is_what_its_events_alone_say(yard: Any, script: Any) -> None:
    run_with_a_failure_and_a_conflict(yard, script)
    figures = json.loads(crewyard(yard, "summary", "--json"))
    with contextlib.closing(sqlite3.connect(yard.repo / "data" / "orchestrator.db")) as connection:
        again = recount.recount(connection, until=recount.ms(figures["range"]["until"]))

    spent = Counter({phase: round(1000 * seconds) for phase, seconds in figures["time_seconds"].items()})
    spent["waiting"] = spent.pop("slot") + spent.pop("restart")
    # A writer takes its time before it waits for its turn, so that of two events the later may bear the earlier time.
    assert spent.total() == again.phases.total()
    assert all(abs(spent[phase] - again.phases[phase]) <= OUT_OF_TURN_MS for phase in {*spent, *again.phases})
    assert figures["performance"]["elapsed_hours"] == round(again.elapsed / 3_600_000, 6)
    assert {task["task_id"]: round(1000 * task["work_seconds"]) for task in figures["tasks"]} == again.work
    assert figures["summary"]["completed"] == again.states["completed"] == 5
    assert figures["performance"]["attempts"] == again.attempts.total()
    assert figures["agents"]["scripted"]["failed"] == again.attempts["failed"] == 1
    assert figures["merges"]["conflicted"] == again.merges["conflicted"]
    assert figures["merges"]["merged"] == again.merges["merged"] == 5
    assert figures["errors"]["by_severity"] == again.errors
    told = [link["task_id"] for link in figures["critical_path"]["links"]]
    assert told[-1] == "last"


def test_r156_what_an_agent_said_that_it_used_is_recorded_with_its_end_and_summed(yard: Any, script: Any) -> None:
    run_with_a_failure_and_a_conflict(yard, script)

    rows = yard.rows("SELECT * FROM agent_lifecycle WHERE input_tokens IS NOT NULL OR cost_usd IS NOT NULL")
    assert [(row["task_id"], row["input_tokens"], row["output_tokens"], row["cost_usd"]) for row in rows] == [
        ("paid", 1000, 40, 0.25)
    ]
    answer = json.loads(crewyard(yard, "command", "generate-activity-summary", "TIME_RANGE=last_1h"))
    assert answer["usage"] == {"reported_by": 1, "input_tokens": 1000, "output_tokens": 40, "cost_usd": 0.25}
    assert answer["agents"]["paid"]["cost_usd"] == 0.25
    assert answer["agents"]["scripted"]["cost_usd"] is None
    assert answer["performance"]["simulated_agents"] == answer["agents"]["scripted"]["launched"]


def test_r153_a_person_exports_a_summary_beside_where_they_stand(yard: Any, script: Any) -> None:
    run_with_a_failure_and_a_conflict(yard, script)
    told = json.loads(crewyard(yard, "summary", "--json", "--export", str(yard.folder / "report")))

    assert [path.rsplit("/", 1)[1] for path in told["files"]] == ["report.md", "report.json", "report.svg"]
    ET.parse(yard.folder / "report.svg")  # noqa: S314  (it is our own)
    assert "| completed | 5 |" in (yard.folder / "report.md").read_text()
    assert "| completed | 5 |" in crewyard(yard, "summary", "--since", "last_1h")
    assert yard.git(yard.repo, "status", "--porcelain") == "?? crewyard.toml"
