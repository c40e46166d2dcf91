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


def test_gemini_cli_that_only_looks_reads_and_writes_nothing_else(yard: Any, sit: Callable[..., Desk]) -> None:
    secret, target = yard.folder / "secret.txt", yard.folder / "written.txt"
    secret.write_text("TOPSECRET")
    commands = [
        "git log --oneline -3 && git diff HEAD~0..HEAD -- README.md",
        f"git diff --no-index /dev/null {secret}",
        f"git diff /dev/null {secret}",
        f"git log -1 --output={target}",
        f"git status && git log -1 --ou={target}",
        f"git show > {target}",
    ]
    turns: list[Any] = [[Use("run_shell_command", command=command)] for command in commands]
    turns += [[Use("report", action="complete", summary="Seen.", no_change=True)], [Say("Done.")]]
    desk = sit(Scenario("# Task greet", turns))
    yard.configure(f'{AGENT}permissions = "read"\n')
    task = {key: value for key, value in TASK.items() if key != "check"}

    told = desk.run("crewyard", "run", str(yard.plan(task)), "--repo", str(yard.repo), "--json", at=yard.repo)

    assert told.code == 0, told.out + told.err
    results = [json.dumps(result) for result in desk.models.requests[-1].results]
    assert "First" in results[0]
    assert all("denied by policy" in result for result in results[1 : len(commands)])
    assert "TOPSECRET" not in "".join(results)
    assert not target.exists()


def test_gemini_cli_runs_the_check_and_not_what_begins_like_it(yard: Any, sit: Callable[..., Desk]) -> None:
    secret, check = yard.folder / "secret.txt", "test -s hello.txt 2>&1 | tail -n 3"
    secret.write_text("TOPSECRET")
    turns: list[Any] = [[Use("write_file", file_path="hello.txt", content="hi\n")]]
    turns += [[Use("run_shell_command", command=command)] for command in (check, f"tail -n 3 {secret}")]
    turns += [[Use("report", action="complete", summary="Greeted.")], [Say("Done.")]]
    desk = sit(Scenario("# Task greet", turns))
    yard.configure(AGENT)

    plan = yard.plan({**TASK, "check": check})
    told = desk.run("crewyard", "run", str(plan), "--repo", str(yard.repo), "--json", at=yard.repo)

    assert told.code == 0, told.out + told.err
    ran, refused = (json.dumps(result) for result in desk.models.requests[-1].results[1:3])
    assert "denied by policy" not in ran
    assert ("denied by policy" in refused, "TOPSECRET" in refused) == (True, False)
    logs = "".join(path.read_text(errors="replace") for path in yard.repo.rglob("output.log"))
    assert "Policy file" not in logs


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
