"""An agent talks to Crewyard through the MCP configuration that it was given (contract 3, 5, 7)."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

# Starts the server that its configuration names, calls one tool after the other, and keeps the answers.
AGENT = """
import json, os, subprocess, sys
server = json.load(open(os.environ["CREWYARD_MCP_CONFIG"]))["mcpServers"]["crewyard"]
process = subprocess.Popen([server["command"], *server["args"]], env={**os.environ, **server["env"]},
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def ask(number, method, params):
    process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\\n")
    process.stdin.flush()
    for line in process.stdout:
        answer = json.loads(line)
        if answer.get("id") == number:
            return answer["result"]
ask(0, "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}})
process.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\\n')
answers = [ask(n, "tools/call", call)["structuredContent"] for n, call in enumerate(json.loads(sys.argv[1]), 1)]
answers.append(sorted(tool["name"] for tool in ask(99, "tools/list", {})["tools"]))
process.stdin.close()
process.wait()
json.dump(answers, open(sys.argv[2], "w"))
"""


@pytest.fixture
def answers(yard) -> Any:
    """``answers(*calls)``: runs one task whose agent makes these calls and changes nothing; returns what it heard."""

    def run(*calls: tuple[str, dict[str, Any]]) -> tuple[Any, list[Any]]:
        program, heard = yard.folder / "agent.py", yard.folder / "heard.json"
        program.write_text(AGENT)
        asked = json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])
        command = json.dumps([sys.executable, str(program), asked, str(heard)])
        yard.configure(f"max_restarts = 1\n[agents.worker]\ncommand = {command}\n")
        outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "worker"}))
        return outcome, json.loads(heard.read_text())

    return run


def test_a_task_is_completed_without_a_merge_where_its_agent_reports_nothing_to_change(yard, answers: Any) -> None:
    outcome, heard = answers(
        ("report", {"action": "progress", "summary": "looking"}),
        ("report", {"action": "complete", "summary": "it is so already", "no_change": True}),
    )
    assert outcome.code == 0, outcome.err
    assert [answer["status"] for answer in heard[:2]] == ["success", "success"]
    task = outcome.task("A")
    assert (task["status"], task["merge_commit"]) == ("completed", None)
    assert yard.git(yard.repo, "rev-parse", "roadmap") == yard.git(yard.repo, "rev-parse", "main")
    assert (yard.worktrees(), yard.refs()) == (1, ["refs/heads/main", "refs/heads/roadmap"])


def test_an_agent_that_reports_a_question_does_not_pass_for_done(answers: Any) -> None:
    outcome, _ = answers(("report", {"action": "question", "summary": "which colour?"}))
    task = outcome.task("A")
    assert (outcome.code, task["status"], task["attempts"]) == (1, "review", 1), "asking again is no answer"
    assert "which colour?" in task["error"]["message"]


def test_a_worker_has_four_tools_and_may_not_do_what_is_the_leads(yard, answers: Any) -> None:
    outcome, heard = answers(
        ("assign", {}),
        ("plan", {"action": "add", "tasks": [{"task_id": "X"}]}),
        ("agents", {"action": "kill", "agent_id": "other"}),
        ("agents", {"action": "heartbeat"}),
    )
    assert heard[-1] == ["agents", "plan", "report", "route"]
    assert [answer.get("code") for answer in heard[:4]] == ["not_authorized", "not_authorized", "not_authorized", None]
    assert [row["task_id"] for row in yard.rows("SELECT task_id FROM specs_task")] == ["A"]
    assert outcome.code == 1, "it changed nothing and did not say so"


def test_the_configuration_is_its_owners_only_and_gone_at_the_end(yard, script: Any) -> None:
    yard.configure("grace_period_seconds = 0.1\n")
    running = yard.start(yard.plan({"task_id": "A", "description": script("say ready", "hang")}))
    running.until("A: scripted")
    folder = Path(yard.rows("SELECT run_dir FROM agent_lifecycle")[0]["run_dir"])
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir() if path.name != "runner.log"} == {
        path.name: 0 for path in folder.iterdir() if path.name != "runner.log"
    }
    assert "mcp.json" in {path.name for path in folder.iterdir()}
    running.interrupt()
    running.finish()
    assert {"mcp.json", "launch.marshal"}.isdisjoint(path.name for path in folder.iterdir())
