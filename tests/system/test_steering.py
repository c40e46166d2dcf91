"""Work that changes what agent programs execute or take settings from, by agents that may not run what they like."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import CREWYARD

HELD = "agent_settings_changed"


def crew(yard: Any, steps: str, more: str = "") -> Path:
    """A plan of one task whose agent is of a known kind; its program is a shell script that takes these steps."""
    program = yard.folder / "agent.sh"
    program.write_text(f"#!/bin/sh\necho started >> '{yard.folder}/starts'\n{steps}\n")
    program.chmod(0o755)
    yard.configure(f'{more}[agents.looker]\nkind = "opencode"\nprogram = "{program}"\n')
    return yard.plan({"task_id": "A", "agent_type": "looker"})


def starts(yard: Any) -> int:
    return len((yard.folder / "starts").read_text().splitlines())


def at_roadmap(yard: Any) -> list[str]:
    return yard.git(yard.repo, "ls-tree", "-r", "--name-only", "roadmap").splitlines()


def approve(yard: Any, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [*CREWYARD, "worktrees", "approve", "A", *words, "--repo", str(yard.repo)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ("mkdir -p lib/.claude; echo x > lib/.claude/hook.sh", "lib/.claude/hook.sh"),
        (
            "echo '{}' > a; git add a; mkdir .Claude; git mv a .Claude/settings.json; git commit -qm x",
            ".Claude/settings",
        ),
        ("echo '{}' > OpenCode.JSON", "OpenCode.JSON"),
        ("git rm -q .mcp.json; git commit -qm x", ".mcp.json"),
        ("git mv .mcp.json other.json; git commit -qm x", ".mcp.json"),
        ("mkdir .gemini; echo x > .gemini/settings.json", ".gemini/settings.json"),
        ("echo >> crewyard.toml", "crewyard.toml"),
        ("ln -s lib .codex", ".codex"),
    ],
)
def test_what_steers_agents_is_not_merged_and_not_tried_again(yard: Any, steps: str, named: str) -> None:
    (yard.repo / ".mcp.json").write_text("{}\n")
    yard.git(yard.repo, "add", ".mcp.json")
    yard.git(yard.repo, "commit", "-qm", "Servers")
    outcome = yard.run(crew(yard, steps))
    told = outcome.task("A")
    assert (outcome.code, told["status"], told["error"]["code"]) == (1, "review", HELD)
    assert named in told["error"]["message"]
    assert "crewyard worktrees approve A" in told["error"]["message"]
    assert 'agents.looker.permissions = "run"' in told["error"]["message"]
    assert (starts(yard), at_roadmap(yard)) == (1, [".mcp.json", "README.md"])


def test_what_a_person_approves_of_it_is_merged_and_running_the_plan_again_is_no_approval(yard: Any) -> None:
    plan = crew(yard, "mkdir .claude; echo x > .claude/settings.json")
    assert yard.run(plan).code == 1
    assert yard.run(plan).task("A")["error"]["code"] == HELD
    assert (starts(yard), at_roadmap(yard)) == (1, ["README.md"]), "what lies there would have been executed"
    done = approve(yard)
    assert (done.returncode, "is approved" in done.stdout) == (0, True), done.stderr
    outcome = yard.run(plan)
    assert (outcome.code, outcome.task("A")["status"]) == (0, "merged"), outcome.err
    assert (starts(yard), at_roadmap(yard)) == (1, [".claude/settings.json", "README.md"])
    assert yard.rows("SELECT approved_by FROM merge_request WHERE status = 'merged'")[0]["approved_by"] == "lead"


def test_an_agent_that_may_run_anything_may_steer_others_as_well(yard: Any) -> None:
    plan = crew(yard, "mkdir -p .claude; echo x > .claude/settings.json")
    assert yard.run(plan).code == 1
    text = (yard.repo / "crewyard.toml").read_text()
    (yard.repo / "crewyard.toml").write_text(f'{text}permissions = "run"\n')
    outcome = yard.run(plan)
    assert (outcome.code, outcome.task("A")["status"], starts(yard)) == (0, "merged", 2), outcome.err


def test_no_agent_is_started_where_another_has_left_what_it_would_execute(yard: Any) -> None:
    """It ends with an error, and the next attempt would have started in the same worktree."""
    outcome = yard.run(crew(yard, "mkdir .claude; echo x > .claude/settings.json; exit 3"))
    told = outcome.task("A")
    assert (outcome.code, told["status"], told["error"]["code"]) == (1, "review", HELD)
    assert ".claude/settings.json" in told["error"]["message"]
    assert starts(yard) == 1
    assert approve(yard).returncode != 0, "its work was never proven"


def test_programs_without_permissions_are_not_kept_from_it(yard: Any) -> None:
    yard.configure('[agents.own]\ncommand = ["sh", "-c", "mkdir .claude; echo x > .claude/settings.json"]\n')
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "own"}))
    assert (outcome.code, outcome.task("A")["status"]) == (0, "merged"), outcome.err


def test_work_that_was_approved_may_go_back_to_an_agent_and_come_again(yard: Any) -> None:
    """Its check fails on the merged tree once; what was approved need not be approved again."""
    flag = yard.folder / "flag"
    check = json.dumps(["sh", "-c", f"test -e '{flag}'"])
    steps = "mkdir -p .claude; test -e .claude/settings.json && echo y > b.txt; echo x > .claude/settings.json"
    plan = crew(
        yard,
        f"{steps}; test $(wc -l < '{yard.folder}/starts') -gt 1 && touch '{flag}'; true",
        f"[merge]\ncheck = {check}\n",
    )
    assert yard.run(plan).code == 1
    assert approve(yard).returncode == 0
    outcome = yard.run(plan)
    assert (outcome.code, outcome.task("A")["status"], starts(yard)) == (0, "merged", 2), outcome.err
    assert at_roadmap(yard) == [".claude/settings.json", "README.md", "b.txt"]
