"""Incident reports and calls for administrators (R-226, R-229)."""

import json

import pytest

from crewyard.server import events
from crewyard.server.errors import InvalidInput
from crewyard.server.workflow_sections import Workflows
from crewyard.server.workflows import administrators, incidents, projects, workers

from .line import LEAD, SETTINGS, Line


def test_r229_an_incident_report_holds_how_things_stand_and_what_was_done(line: Line) -> None:
    failed, waiting = line.dispatch(), line.dispatch()
    line.distribute()
    line.fail(failed, "check_failed", "Two tests fail.")
    line.run(workers.retire, "content-01", why="nothing waits")
    line.run(projects.set_priority, waiting, 1)
    for _ in range(3):
        line.dispatch()
    line.later(60)
    row = line.run(incidents.report, line.pipeline, "tests fail", "since noon", did=["stopped P-1"])
    facts = json.loads(row["facts"])

    assert (row["cause"], row["details"], row["opened_by"], row["at"]) == ("tests fail", "since noon", LEAD, line.now)
    assert facts["queues"]["genesis"]["waiting"] == 3
    assert facts["queues"]["genesis"]["oldest_wait_seconds"] == 60.0
    assert facts["queues"]["genesis"]["workers"] == {"busy": 1, "idle": 1}
    assert facts["review"] == [
        {"project_id": failed, "workflow": "genesis", "error_code": "check_failed", "error_message": "Two tests fail."}
    ]
    assert facts["did"] == ["stopped P-1"]
    kinds = [each["what"] for each in facts["before"]]
    assert kinds[-3:] == ["item_review", "worker_retired", "project_priority"]
    assert [each["kind"] for each in line.read(events.of, "incident", row["incident_id"])] == ["incident_reported"]


def test_what_happened_long_before_is_not_in_the_report(line: Line) -> None:
    line.run(workers.retire, "content-01", why="nothing waits")
    line.later(2 * incidents.BEFORE_SECONDS)
    row = line.run(incidents.report, line.pipeline, "", "")

    assert json.loads(row["facts"])["before"] == []
    assert row["cause"] == incidents.UNNAMED


def test_a_report_that_is_too_long_is_refused_and_not_kept(line: Line) -> None:
    with pytest.raises(InvalidInput):
        line.run(incidents.report, line.pipeline, "x" * 5000, "")
    assert line.read(lambda tx: tx.value("SELECT count(*) FROM incident")) == 0


def test_r226_administrators_and_the_lead_are_told_at_once(line: Line) -> None:
    settings = Workflows.model_validate(SETTINGS | {"administrators": ["operator", "nobody"]})
    line.store.run(
        lambda tx: tx.run(
            "INSERT INTO agent_lifecycle (agent_id, agent_type, kind, status, workspace, run_dir, term, created_at, "
            "completed_at) VALUES ('operator-1', 'operator', 'command', 'completed', '/w', '/runs', 1, ?, ?)",
            (line.now, line.now),
        )
    )
    told = line.run(administrators.tell, settings, "capacity-exceeded", "30 wait in genesis")
    mail = line.read(lambda tx: tx.all("SELECT * FROM agent_message ORDER BY id"))

    assert told == ["lead", "operator"]
    assert [row["to_agent"] for row in mail] == told
    content = json.loads(mail[0]["content"])
    assert (content["title"], content["level"]) == ("Workflows: capacity-exceeded", "critical")
    assert [each["kind"] for each in line.read(events.of, "workflows", "all")] == ["administrators_told"]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 3000])
def test_a_call_without_a_reason_or_of_endless_length_is_refused(line: Line, reason: str) -> None:
    with pytest.raises(InvalidInput):
        line.run(administrators.tell, line.pipeline.settings, reason, "")
    assert line.read(lambda tx: tx.value("SELECT count(*) FROM agent_message")) == 0
