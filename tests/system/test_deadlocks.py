"""A circle that another program writes into the database, under a real run (R-121, R-125)."""

import json
import sqlite3
from contextlib import closing
from typing import Any

OFTEN = "[health]\ncheck_interval_seconds = 0.1\ndeadlock_interval_seconds = 0.1\n"


def test_r125_the_supervisor_tells_of_a_circle_and_ends_the_run_in_spite_of_it(yard: Any, wait_until: Any) -> None:
    yard.gated_plan()
    settings = yard.repo / "crewyard.toml"
    settings.write_text(settings.read_text() + OFTEN)
    names = {"agent_type": "waiter", "depends_on": ["A"]}
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "waiter"}, *({"task_id": n, **names} for n in "BC")))
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
    with closing(sqlite3.connect(yard.repo / "data" / "orchestrator.db", timeout=10)) as foreign:
        foreign.executemany(
            "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, created_at) VALUES (?, ?, 'now')",
            [("B", "C"), ("C", "B")],
        )
        foreign.commit()
    wait_until(lambda: yard.holds("SELECT 1 FROM error_events WHERE error_class = 'deadlock'"))
    yard.open_gate()
    outcome = running.finish()
    assert outcome.code == 1, outcome.err
    assert outcome.task("A")["status"] == "merged"
    assert {row["task_id"] for row in yard.rows("SELECT task_id FROM agent_lifecycle")} == {"A"}
    [error] = yard.rows("SELECT * FROM error_events")
    assert (error["subject"], error["severity"], error["status"]) == ("tasks: B → C → B", "critical", "open")
    alerts = yard.rows("SELECT content FROM agent_message WHERE message_type = 'alert' AND to_agent = 'lead'")
    assert [json.loads(row["content"])["error_id"] for row in alerts] == [error["error_id"]]
