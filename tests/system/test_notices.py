"""What the system tells of its own accord, in a real run: to an agent through its own server, and to the lead."""

import json
import sys

# Reads its mail until it has heard of all three, settles it, and keeps what it heard.
READER = """
import json, os, subprocess, sys
server = json.load(open(os.environ["CREWYARD_MCP_CONFIG"]))["mcpServers"]["crewyard"]
process = subprocess.Popen([server["command"], *server["args"]], env={**os.environ, **server["env"]},
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
numbers = iter(range(1000))
def ask(method, params):
    number = next(numbers)
    process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\\n")
    process.stdin.flush()
    for line in process.stdout:
        answer = json.loads(line)
        if answer.get("id") == number:
            return answer["result"]
def route(**arguments):
    return ask("tools/call", {"name": "route", "arguments": arguments})["structuredContent"]
ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}})
process.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\\n')
heard = {}
while not {"task_assignment", "dependency_unblocked", "merged"} <= heard.keys():
    for message in route(action="poll", wait_seconds=20)["messages"]:
        heard[message["message_type"]] = message
        route(action="acknowledge", message_id=message["message_id"])
    open(sys.argv[1], "w").close()
process.stdin.close()
process.wait()
json.dump(heard, open(sys.argv[2], "w"))
open("late.txt", "w").write("late")
"""


def test_each_notice_reaches_the_agent_or_the_lead_that_it_is_for(yard, script) -> None:
    program, begun, heard = yard.folder / "reader.py", yard.folder / "begun", yard.folder / "heard.json"
    program.write_text(READER)
    waiter = yard.folder / "wait.sh"
    waiter.write_text(f"while [ ! -e '{begun}' ]; do sleep 0.02; done; echo a > a.txt\n")
    yard.configure(
        f"[agents.reader]\ncommand = {json.dumps([sys.executable, str(program), str(begun), str(heard)])}\n"
        f'[agents.waiter]\ncommand = ["sh", "{waiter}"]\n'
    )
    plan = yard.plan(
        {"task_id": "A", "agent_type": "waiter"},
        {"task_id": "B", "depends_on": ["A"], "description": script("1: fail 3", "write b.txt b")},
        {"task_id": "L", "agent_type": "reader", "soft_depends_on": ["A"]},
    )
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err

    told = {kind: message["content"] for kind, message in json.loads(heard.read_text()).items()}
    assert all(message["sender"] == "crewyard" for message in json.loads(heard.read_text()).values())
    assert (told["task_assignment"]["task_id"], told["task_assignment"]["attempt"]) == ("L", 1)
    assert told["task_assignment"]["worktree"].startswith(str(yard.repo.parent))
    assert told["dependency_unblocked"]["task_id"] == "A"
    assert [task["task_id"] for task in told["merged"]["tasks"]] == ["A"]
    assert told["merged"]["commit"] == outcome.task("A")["merge_commit"]

    rows = yard.rows("SELECT message_type, content FROM agent_message WHERE to_agent = 'lead' ORDER BY id")
    lead = [(row["message_type"], json.loads(row["content"])) for row in rows]
    assert sorted(content["task_id"] for kind, content in lead if kind == "task_complete") == ["A", "B", "L"]
    assert [content["ready"] for kind, content in lead if kind == "dependency_unblocked"] == [["B"]]
    assert [content["code"] for kind, content in lead if kind == "error_report"] == ["agent_failed"]
    assert sum(content["merges"] for kind, content in lead if kind == "merged") == 3
    left = yard.rows("SELECT DISTINCT to_agent FROM agent_message WHERE status IN ('pending', 'delivered')")
    assert [row["to_agent"] for row in left] == ["lead"], "an ended agent's news are nobody's"
