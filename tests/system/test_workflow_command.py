"""``crewyard workflow`` as somebody at a terminal, or a script, has it: with a daemon, and without anybody else."""

import json
import os
import signal
from collections.abc import Iterator

import pytest
from flowing import configure, crewyard, told
from yards import Yard, script, wait_until


@pytest.fixture
def daemon(yard: Yard) -> Iterator[Yard]:
    configure(yard)
    assert crewyard(yard, "start").returncode == 0
    yield yard
    crewyard(yard, "stop", "--force")


def test_r200_what_is_dispatched_at_a_terminal_comes_through_all_stages(daemon: Yard) -> None:
    assert told(daemon, "/dispatch-genesis level=high A shop for tea")["status"] == "success"
    wait_until(lambda: daemon.holds("SELECT 1 FROM project WHERE status = 'completed'"), 60)

    shown = crewyard(daemon, "workflow", "/backlog", "P-1")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "status: completed" in shown.stdout
    assert "repository url: https://example.org/shop" in shown.stdout
    five = told(daemon, "/status")
    assert [each["call"].split("(")[0] for each in five["answers"]] == [
        "queues", "workers", "analytics", "analytics", "monitor_resource_usage",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code", "hint"),
    [
        ("/asign genesis P-1 genesis-01", "invalid_input", "Did you mean '/assign'?"),
        ("/assign genisis P-1 genesis-01", "workflow_not_found", "Did you mean 'genesis'?"),
        ("/emergency-stop P-9", "project_not_found", "`crewyard workflow /backlog` lists them."),
        ("/review P-1", "invalid_input", "/review <project_id> <exit> [workflow=…] [why…]"),
    ],
)
def test_what_is_refused_ends_with_2_and_says_what_is_right(yard: Yard, line: str, code: str, hint: str) -> None:
    configure(yard)
    refused = crewyard(yard, "workflow", line)
    as_json = json.loads(crewyard(yard, "workflow", line, "--json").stdout)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert hint in refused.stderr
    assert (as_json["status"], as_json["error"]["code"]) == ("refused", code)


def test_without_a_line_all_commands_are_listed(yard: Yard) -> None:
    listed = crewyard(yard, "workflow").stdout.splitlines()
    assert "/assign <workflow> <project_id> <worker_id>" in listed
    assert len(json.loads(crewyard(yard, "workflow", "--json").stdout)) == len(listed) // 2


def test_r219_an_emergency_stop_ends_agents_whose_server_is_gone(yard: Yard) -> None:
    configure(yard, genesis=script("say here", "write half.md half", "hang"))
    assert crewyard(yard, "start").returncode == 0
    told(yard, "/dispatch-genesis A shop for tea")
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"), 60)
    os.kill(json.loads(crewyard(yard, "status", "--json").stdout)["daemon"]["pid"], signal.SIGKILL)

    stopped = crewyard(yard, "workflow", "/emergency-stop P-1")

    assert stopped.returncode == 0, stopped.stderr
    assert "No server of this repository is up" in stopped.stderr
    assert not yard.holds("SELECT 1 FROM agent_lifecycle WHERE completed_at IS NULL")
    assert yard.holds("SELECT 1 FROM project WHERE status = 'held'")
    assert yard.holds("SELECT 1 FROM incident WHERE cause = 'emergency-stop'")


def test_g20_an_agents_shell_is_refused_and_that_is_recorded(yard: Yard) -> None:
    configure(yard)
    crewyard(yard, "workflow", "/queues")
    refused = crewyard(yard, "workflow", "/emergency-overload", CREWYARD_AGENT_TOKEN="of nobody")

    assert refused.returncode == 2
    assert "belongs to no live agent" in refused.stderr
    assert yard.holds("SELECT 1 FROM event WHERE kind = 'not_authorized'")
    assert not yard.holds("SELECT 1 FROM event WHERE subject_type = 'emergency'")
