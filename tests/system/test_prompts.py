"""What real agents are told of the crew, and what follows from what their programs say."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from .conftest import CREWYARD

# Keeps its prompt, does its task, and says what it did as far as the test's environment has words for it.
KEEPER = """
import os, pathlib, subprocess, sys
folder, task, attempt = pathlib.Path(sys.argv[1]), os.environ["CREWYARD_TASK_ID"], os.environ["CREWYARD_ATTEMPT"]
(folder / f"{task}-{attempt}.prompt").write_text(pathlib.Path(os.environ["CREWYARD_PROMPT_FILE"]).read_text())
pathlib.Path(f"{task}.txt").write_text(task)
subprocess.run(["git", "add", "--all"], check=True)
subprocess.run(["git", "commit", "--quiet", "-m", f"Write down {task}"], check=True)
"""
# A stand-in for Claude Code: what it was asked last it reads from standard input, what happened it says as JSON.
STAND_IN = """#!{python}
import json, os, pathlib, sys
if "--version" in sys.argv:
    sys.exit(print("2.1.197 (Claude Code)"))
folder, prompt, session = pathlib.Path({folder!r}), sys.stdin.read(), "0e9b1f0a-6b0c-4b0e-9c7e-1f2a3b4c5d6e"
(folder / f"{{os.environ['CREWYARD_TASK_ID']}}-{{os.environ['CREWYARD_ATTEMPT']}}.prompt").write_text(prompt)
print(json.dumps({{"type": "system", "subtype": "init", "session_id": session}}))
refused = {{"tool_name": "Bash", "tool_use_id": "t", "tool_input": {{"command": "npm test"}}}}
print(json.dumps({{"type": "result", "subtype": "success", "is_error": False, "session_id": session,
                  "result": "I was not allowed to run the tests.", "permission_denials": [refused]}}))
"""


@pytest.fixture
def told(yard) -> Callable[[str, int], str]:
    """``told(task_id, attempt)``: the prompt that this attempt got."""
    return lambda task_id, attempt=1: (yard.folder / f"{task_id}-{attempt}.prompt").read_text()


@pytest.fixture
def keeper(yard) -> str:
    """The table of an agent type that keeps its prompts."""
    program = yard.folder / "keeper.py"
    program.write_text(KEEPER)
    return f"[agents.keeper]\ncommand = {json.dumps([sys.executable, str(program), str(yard.folder)])}\n"


def send(yard, target: str, text: str) -> None:
    subprocess.run([*CREWYARD, "send", target, text, "--repo", str(yard.repo)], check=True, capture_output=True)


def alerts(yard) -> list[dict[str, object]]:
    rows = yard.rows("SELECT content FROM agent_message WHERE to_agent = 'lead' AND message_type = 'alert' ORDER BY id")
    return [json.loads(row["content"]) for row in rows]


def keeps(tasks: Sequence[str], **more: object) -> list[dict[str, object]]:
    return [{"task_id": name, "agent_type": "keeper", **more} for name in tasks]


def test_an_agent_is_told_what_its_dependencies_did(yard, keeper: str, told) -> None:
    yard.configure(keeper)
    outcome = yard.run(yard.plan(*keeps("A"), *keeps("B", depends_on=["A"])))
    assert outcome.code == 0, outcome.err
    commit = outcome.task("A")["merge_commit"][:12]
    assert f"- A: A (merged as {commit})\n  Commits: Write down A\n  Files: `A.txt`" in told("B")
    assert "What it builds on" not in told("A")


def test_mail_for_programs_that_cannot_poll_is_in_one_prompt_each(yard, keeper: str, told) -> None:
    yard.configure(keeper)
    assert yard.run(yard.plan(*keeps("A"))).code == 0
    send(yard, "keeper", "Take port 8080.")
    assert yard.run(yard.plan(*keeps("BC"), name="next.json")).code == 0
    found = [name for name in "BC" if "> Take port 8080." in told(name)]
    assert len(found) == 1
    assert re.search(r"From lead at \S+Z \(\w+, to keeper\):", told(found[0]))
    [row] = yard.rows("SELECT * FROM agent_message WHERE to_agent = 'keeper'")
    assert (row["status"], row["delivery_count"]) == ("acknowledged", 1)
    assert "crewyard" not in told("A"), "it is told of no tools that it has not"


def test_an_answer_that_comes_after_its_asker_has_ended_reaches_the_next_attempt(yard, told) -> None:
    program = yard.folder / "asker.py"
    ask = "import json, os, subprocess, sys\n"
    ask += "if os.environ['CREWYARD_ATTEMPT'] == '1':\n"
    ask += (
        f"    open({str(yard.folder / 'A-1.prompt')!r}, 'w').write(open(os.environ['CREWYARD_PROMPT_FILE']).read())\n"
    )
    ask += "    server = json.load(open(os.environ['CREWYARD_MCP_CONFIG']))['mcpServers']['crewyard']\n"
    ask += "    calls = [('initialize', {'protocolVersion': '2025-06-18', 'capabilities': {}, 'clientInfo': "
    ask += "{'name': 'a', 'version': '1'}}), ('tools/call', {'name': 'report', 'arguments': {'action': 'question', "
    ask += "'summary': 'Which colour?'}})]\n"
    ask += "    run = subprocess.Popen([server['command'], *server['args']], env={**os.environ, **server['env']},\n"
    ask += "                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)\n"
    ask += "    for number, (method, params) in enumerate(calls):\n"
    ask += "        print(json.dumps({'jsonrpc': '2.0', 'id': number, 'method': method, 'params': params}),\n"
    ask += "              file=run.stdin, flush=True)\n"
    ask += "        while json.loads(run.stdout.readline()).get('id') != number: pass\n"
    ask += "    run.stdin.close()\n"
    ask += "    sys.exit(run.wait())\n"
    program.write_text(ask + KEEPER)
    # With {mcp_config} in it a command counts as one that polls: what was sent to the ended asker it would not find.
    command = json.dumps([sys.executable, str(program), str(yard.folder), "{mcp_config}"])
    yard.configure(f"[agents.keeper]\ncommand = {command}\n")
    plan = yard.plan(*keeps("A"))
    outcome = yard.run(plan)
    assert (outcome.code, outcome.task("A")["status"]) == (1, "review")
    assert 'report(action="question"' in told("A")
    [asker] = yard.rows("SELECT agent_id FROM agent_lifecycle")
    send(yard, asker["agent_id"], "Blue.")
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert "> Blue." in told("A", 2)


def test_what_a_program_was_refused_is_told_with_the_setting_and_with_the_failure_that_follows(yard, told) -> None:
    program = yard.folder / "claude"
    program.write_text(STAND_IN.format(python=sys.executable, folder=str(yard.folder)))
    program.chmod(0o755)
    yard.configure(f'max_restarts = 1\n[agents.keeper]\nkind = "claude"\nprogram = "{program}"\n')
    outcome = yard.run(yard.plan(*keeps("A")))
    assert outcome.task("A")["status"] == "review", "it ended well, and did nothing"
    refused = [alert for alert in alerts(yard) if "denied" in alert]
    assert [alert["denied"] for alert in refused] == [["Bash(npm test)"]], "two attempts, told once"
    assert 'allow = ["Bash(npm test)"]' in str(refused[0]["message"])
    assert "It was not allowed: Bash(npm test)." in outcome.task("A")["error"]["message"]
    assert "It was not allowed: Bash(npm test)." in told("A", 2)
    assert "This goes on from your earlier conversation" in told("A", 2)
    why = subprocess.run([*CREWYARD, "why", "A"], cwd=yard.repo, check=True, capture_output=True, text=True).stdout
    assert 'allow = ["Bash(npm test)"]' in " ".join(why.split())


def test_a_plan_waits_for_somebody_to_log_its_agents_in_and_goes_on_then(yard) -> None:
    logged_in = yard.folder / "logged-in"
    program = f"[ -e '{logged_in}' ] && echo x > $CREWYARD_TASK_ID.txt && exit; echo 'Not logged in · /login'; exit 1"
    yard.configure(
        f"[launch]\nquota_pause_seconds = 0.3\n[agents.keeper]\ncommand = {json.dumps(['sh', '-c', program])}\n"
    )
    running = yard.start(yard.plan(*keeps("ABCD")), "--max-parallel", "1")
    assert "not logged in: Log its program in" in running.until("agents of type keeper are not logged in")
    logged_in.touch()
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert [row["retry_count"] for row in yard.rows("SELECT retry_count FROM orchestrator_task")] == [0] * 4
    titles = [alert["title"] for alert in alerts(yard)]
    assert titles.count("Agents of type keeper are not logged in") == 1
