"""An unmodified opencode as a worker."""

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
kind = "opencode"
environment = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
"""
TASK = {
    "task_id": "greet",
    "title": "Greet",
    "agent_type": "writer",
    "description": "/help @README.md Write hello.txt.",
    "check": "grep -q hi hello.txt && test -s hello.txt",
}


def test_opencode_works_a_task_off_with_no_more_than_it_may(yard: Any, sit: Callable[..., Desk]) -> None:
    turns = [
        [Use("write", filePath="hello.txt", content="hi\n")],
        [Use("bash", command="git push origin roadmap", description="push")],
        [Use("bash", command=TASK["check"], description="check")],
        [Use("bash", command="git add hello.txt && git commit -qm 'Greet, as asked'", description="commit")],
        [Use("report", action="complete", summary="Greeted.")],
        [Use("write", filePath="opencode.json", content="{}")],
        [Use("write", filePath=".opencode/plugin/mine.js", content="")],
        [Say("Done.")],
    ]
    desk = sit(Scenario("# Task greet", turns))
    yard.configure(AGENT)

    told = desk.run("crewyard", "run", str(yard.plan(TASK)), "--repo", str(yard.repo), "--json", at=yard.repo)

    assert told.code == 0, told.out + told.err
    assert yard.at_roadmap("hello.txt") == "hi"
    [agent] = yard.rows("SELECT * FROM agent_lifecycle")
    assert (agent["status"], agent["input_tokens"], agent["output_tokens"]) == ("completed", 80, 40)
    [event] = yard.rows("SELECT data FROM event WHERE kind = 'agent_denied'")
    assert json.loads(event["data"])["denied"] == ["bash(git push origin roadmap)", "write"]
    results = desk.models.requests[-1].results
    assert "rule which prevents" in json.dumps(results[1])
    assert re.search(r"status\W+success", json.dumps(results[4]))
    assert all("rule which prevents" in json.dumps(result) for result in results[5:7]), "settings are not its to write"
    assert "/help @README.md Write hello.txt." in desk.models.requests[-1].said
    assert "Greet, as asked" in yard.git(yard.repo, "log", "--format=%s", "roadmap")


def test_opencode_that_only_looks_reads_and_writes_nothing_else(yard: Any, sit: Callable[..., Desk]) -> None:
    secret, target = yard.folder / "secret.txt", yard.folder / "written.txt"
    secret.write_text("TOPSECRET")
    commands = [
        "git log --oneline -3 && git diff HEAD~0..HEAD -- README.md",
        f"git diff --no-index /dev/null {secret}",
        f"git diff /dev/null {secret}",
        f"git log -1 --output={target}",
        f"git log -1 --ou={target}",
        f"git show > {target}",
        "git log -1 > opencode.json",
    ]
    turns: list[Any] = [[Use("bash", command=command, description="look")] for command in commands]
    turns += [[Use("report", action="complete", summary="Seen.", no_change=True)], [Say("Done.")]]
    desk = sit(Scenario("# Task greet", turns))
    yard.configure(f'{AGENT}permissions = "read"\n')
    task = {key: value for key, value in TASK.items() if key != "check"}

    told = desk.run("crewyard", "run", str(yard.plan(task)), "--repo", str(yard.repo), "--json", at=yard.repo)

    assert told.code == 0, told.out + told.err
    results = [json.dumps(result) for result in desk.models.requests[-1].results]
    assert "rule which prevents" not in results[0]
    assert all("rule which prevents" in result for result in results[1 : len(commands)])
    assert "TOPSECRET" not in "".join(results)
    assert not target.exists()


def test_opencode_goes_on_with_its_conversation_after_a_kill(yard: Any, sit: Callable[..., Desk]) -> None:
    killed: list[int] = []

    def die_once(results: list[Any]) -> list[Say]:
        if not killed:
            [agent] = yard.rows("SELECT pid FROM agent_lifecycle")
            killed.append(agent["pid"])
            os.killpg(agent["pid"], signal.SIGKILL)
        return [Say("Done.")]

    desk = sit(Scenario("# Task greet", [[Use("write", filePath="hello.txt", content="hi\n")], die_once]))
    yard.configure(AGENT)

    told = desk.run("crewyard", "run", str(yard.plan(TASK)), "--repo", str(yard.repo), "--json", at=yard.repo)

    assert told.code == 0, told.out + told.err
    first, second = yard.rows("SELECT * FROM agent_lifecycle ORDER BY attempt")
    assert (first["status"], second["status"]) == ("failed", "completed")
    assert (second["session_id"], json.loads(second["metadata"])["resumed"]) == (first["session_id"], True)
    assert "Wrote file" in json.dumps(desk.models.requests[-1].turns[0]), "it remembers what it had done"
