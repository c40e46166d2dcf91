"""A run whose merges wait for approvals: by a person at the command line, or by an agent of an authorized role."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .conftest import CREWYARD

CAREFUL = "[merge]\nauto_approve = false\n"
# Starts the server that its configuration names and approves what waits in the queue, until something did.
REVIEWER = """
import json, os, subprocess
server = json.load(open(os.environ["CREWYARD_MCP_CONFIG"]))["mcpServers"]["crewyard"]
process = subprocess.Popen([server["command"], *server["args"]], env={**os.environ, **server["env"]},
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def ask(method, params, number=[0]):
    number[0] += 1
    process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number[0], "method": method, "params": params}) + "\\n")
    process.stdin.flush()
    for line in process.stdout:
        answer = json.loads(line)
        if answer.get("id") == number[0]:
            return answer["result"]
def call(name, **arguments):
    return ask("tools/call", {"name": name, "arguments": arguments})["structuredContent"]
ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}})
process.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\\n')
waiting = []
while not waiting:
    waiting = [each["task_id"] for each in call("worktrees", action="queue")["merge_queue"]]
for task_id in waiting:
    print(call("worktrees", action="merge", task_id=task_id, approve=True))
call("report", action="complete", summary="approved", no_change=True)
process.stdin.close()
process.wait()
"""


def crewyard(yard: Any, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*CREWYARD, "worktrees", *arguments, "--repo", str(yard.repo)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_run_says_that_it_waits_and_goes_on_at_once_when_a_person_approves(yard) -> None:
    yard.configure(CAREFUL)
    running = yard.start(yard.plan({"task_id": "A"}, {"task_id": "B", "depends_on": ["A"]}))
    running.until("crewyard worktrees approve TASK")
    running.until("A: done; its merge waits for an approval: `crewyard worktrees approve A`")
    assert yard.rows("SELECT status FROM specs_task WHERE task_id = 'B'")[0]["status"] == "pending"
    refused = crewyard(yard, "approve", "B")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "task_not_completed" in crewyard(yard, "approve", "B", "--json").stdout
    done = crewyard(yard, "approve", "A")
    assert done.returncode == 0, done.stderr
    assert "is approved" in done.stdout
    running.until("A: its merge is approved by lead")
    running.until("B: done; its merge waits")
    told = json.loads(crewyard(yard, "approve", "B", "--json").stdout)
    assert [each["task_id"] for each in told["approved"]] == ["B"]
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert {row["approved_by"] for row in yard.rows("SELECT approved_by FROM merge_request")} == {"lead"}


def test_r195_an_agent_of_an_authorized_role_approves_what_others_did(yard) -> None:
    program = yard.folder / "reviewer.py"
    program.write_text(REVIEWER)
    command = json.dumps([sys.executable, str(program)])
    yard.configure(f'{CAREFUL}authorized_roles = ["reviewer"]\n[agents.reviewer]\ncommand = {command}\n')
    outcome = yard.run(yard.plan({"task_id": "A"}, {"task_id": "R", "agent_type": "reviewer"}))
    assert outcome.code == 0, outcome.err
    assert (outcome.task("A")["status"], outcome.task("R")["status"]) == ("merged", "completed")
    reviewer = yard.rows("SELECT agent_id FROM agent_lifecycle WHERE task_id = 'R'")[0]["agent_id"]
    [row] = yard.rows("SELECT approved_by, approved_at FROM merge_request")
    assert (row["approved_by"], bool(row["approved_at"])) == (reviewer, True)


def test_r137_merges_that_wait_too_long_hold_launches_until_one_is_approved(yard, wait_until: Any) -> None:
    gate: Path = yard.folder / "gate"
    steps = f"while [ ! -e '{gate}' ]; do sleep 0.02; done"
    yard.configure(
        f"{CAREFUL}waiting_alert_seconds = 0.2\n[agents.gated]\nmax_instances = 1\n"
        f'command = ["sh", "-c", "{steps}; echo x > $CREWYARD_TASK_ID.txt"]\n'
    )
    running = yard.start(
        yard.plan({"task_id": "A"}, *({"task_id": name, "agent_type": "gated"} for name in ("B", "C")))
    )
    running.until("no agents are started (merges_wait): merges into roadmap (A) have waited since")
    alerts = "SELECT to_agent FROM agent_message WHERE message_type = 'alert' ORDER BY to_agent"
    assert [row["to_agent"] for row in yard.rows(alerts)] == ["lead"], "there is no project_manager"
    gate.touch()
    first = running.until(": done; its merge waits")[10:].split(":")[0].strip()
    assert len(yard.rows("SELECT 1 FROM agent_lifecycle WHERE agent_type = 'gated'")) == 1, "no other is started"
    assert crewyard(yard, "approve", "A").returncode == 0
    running.until("agents are started again (merges_wait)")
    for _ in range(2):
        wait_until(lambda: yard.holds("SELECT 1 FROM merge_request WHERE status = 'queued' AND approved_by IS NULL"))
        row = yard.rows("SELECT task_id FROM merge_request WHERE status = 'queued' AND approved_by IS NULL")[0]
        assert crewyard(yard, "approve", row["task_id"]).returncode == 0
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert first in ("B", "C")
