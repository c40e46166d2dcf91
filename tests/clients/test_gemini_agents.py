"""An unmodified Gemini CLI as a worker."""

import json
import os
import re
import signal
from collections.abc import Callable
from typing import Any

from .desk import Desk
from .models import Say, Scenario, Use

AGENT = """\
[agents.writer]
kind = "gemini"
model = "gemini-2.5-flash"
environment = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
"""
TASK = {
    "task_id": "greet",
    "title": "Greet",
    "agent_type": "writer",
    "description": "/help @README.md Write hello.txt.",
    "check": "grep -q hi hello.txt && test -s hello.txt",
}


def test_gemini_cli_works_a_task_off_with_no_more_than_it_may(yard: Any, sit: Callable[..., Desk]) -> None:
    turns = [
        [Use("write_file", file_path="hello.txt", content="hi\n")],
        [Use("run_shell_command", command="git push origin roadmap")],
        [Use("run_shell_command", command=TASK["check"])],
        [Use("run_shell_command", command="git add hello.txt && git commit -qm 'Greet, as asked'")],
        [Use("report", action="complete", summary="Greeted.")],
        [Say("Done.")],
    ]
    desk = sit(Scenario("# Task greet", turns))
    yard.configure(AGENT)

    told = desk.run("crewyard", "run", str(yard.plan(TASK)), "--repo", str(yard.repo), "--json", at=yard.repo)

    assert told.code == 0, told.out + told.err
    assert yard.at_roadmap("hello.txt") == "hi"
    [agent] = yard.rows("SELECT * FROM agent_lifecycle")
    assert (agent["status"], agent["input_tokens"], agent["output_tokens"]) == ("completed", 60, 30)
    [event] = yard.rows("SELECT data FROM event WHERE kind = 'agent_denied'")
    assert json.loads(event["data"])["denied"] == ["run_shell_command(git push origin roadmap)"]
    results = desk.models.requests[-1].results
    assert "denied by policy" in json.dumps(results[1])
    assert re.search(r"status\W+success", json.dumps(results[4]))
    said = desk.models.requests[-1].said
    assert "/help @README.md Write hello.txt." in said
    assert "Greet, as asked" in yard.git(yard.repo, "log", "--format=%s", "roadmap")


def test_gemini_cli_goes_on_with_its_conversation_after_a_kill(yard: Any, sit: Callable[..., Desk]) -> None:
    killed: list[int] = []

    def die_once(results: list[Any]) -> list[Say]:
        if not killed:
            [agent] = yard.rows("SELECT pid FROM agent_lifecycle")
            killed.append(agent["pid"])
            os.killpg(agent["pid"], signal.SIGKILL)
        return [Say("Done.")]

    desk = sit(Scenario("# Task greet", [[Use("write_file", file_path="hello.txt", content="hi\n")], die_once]))
    yard.configure(AGENT)

    told = desk.run("crewyard", "run", str(yard.plan(TASK)), "--repo", str(yard.repo), "--json", at=yard.repo)

    assert told.code == 0, told.out + told.err
    first, second = yard.rows("SELECT * FROM agent_lifecycle ORDER BY attempt")
    assert (first["status"], second["status"]) == ("failed", "completed")
    assert (second["session_id"], json.loads(second["metadata"])["resumed"]) == (first["session_id"], True)
    assert "What happened before" in json.dumps(desk.models.requests[-1].messages[-1])
    assert "hello.txt" in json.dumps(desk.models.requests[-1].turns[0]), "it remembers what it had done"
