"""``crewyard doctor --try``: agents are run for one word as a task would run them, and nothing of it is left."""

from pathlib import Path
from typing import Any

import pytest

from crewyard.server import doctor
from crewyard.server.doctor import Finding, tryout

SAYS = """#!/bin/sh
echo "$*" > "{seen}.arguments"; cat > "{seen}.prompt"; cp "$CREWYARD_MCP_CONFIG" "{seen}.mcp"; touch left-in-worktree
printf '%s\\n' '{{"type":"result","is_error":{failed},"result":"{words}","total_cost_usd":0.0123}}'
exit {code}
"""


def tried(yard: Any, *, code: int = 0, failed: str = "false", words: str = "ready") -> Finding:
    program = yard.folder / "claude"
    program.write_text(SAYS.format(seen=yard.folder / "seen", code=code, failed=failed, words=words))
    program.chmod(0o755)
    yard.configure(f'[agents.builder]\nkind = "claude"\nprogram = "{program}"\n')
    [found] = [each for each in doctor.examine(yard.repo, tries=True).findings if each.check == "tried agents"]
    return found


def test_an_agent_answers_as_it_would_be_launched_and_nothing_is_left(yard: Any) -> None:
    before = yard.git(yard.repo, "status", "--porcelain")
    found = tried(yard)

    assert (found.state, found.cure) == ("ok", "")
    assert "it works, and answered in" in found.what
    assert "0.0123 USD" in found.what
    assert "--permission-mode acceptEdits" in (yard.folder / "seen.arguments").read_text()
    assert (yard.folder / "seen.prompt").read_text() == tryout.PROMPT
    assert "crewyard" in (yard.folder / "seen.mcp").read_text()
    assert yard.worktrees() == 1
    assert list((yard.repo / "data/crewyard/checks").iterdir()) == []
    assert yard.git(yard.repo, "status", "--porcelain") == before


@pytest.mark.parametrize(
    ("how", "state", "words"),
    [
        ({"code": 1, "failed": "true", "words": "Invalid argument"}, "problem", "Invalid argument"),
        ({"failed": "true", "words": "something broke"}, "problem", "something broke"),
        ({"code": 1, "failed": "true", "words": "usage limit reached"}, "warning", "limit is reached"),
    ],
)
def test_what_hinders_an_agent_is_told_with_its_cure(yard: Any, how: dict[str, Any], state: str, words: str) -> None:
    found = tried(yard, **how)

    assert found.state == state
    assert words in found.what
    assert found.cure


def test_an_agent_that_does_not_answer_is_ended(yard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryout, "SECONDS", 0.5)
    yard.configure('[agents.waiter]\ncommand = ["sleep", "600"]\n')
    [found] = [each for each in doctor.examine(yard.repo, tries=True).findings if each.check == "tried agents"]

    assert found.state == "problem"
    assert "did not answer within 0.5 s" in found.what
    assert found.cure.startswith("Look whether its provider can be reached")


@pytest.mark.parametrize("key", ["", "sk-1"])
def test_one_that_does_not_answer_is_suspected_of_what_can_be_seen(
    yard: Any, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(tryout, "SECONDS", 0.5)
    monkeypatch.setenv("HOME", str(yard.folder))
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("CLAUDE_CODE_OAUTH_TOKEN", raising=False)
    program = yard.folder / "claude"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    yard.configure(f'[agents.builder]\nkind = "claude"\nprogram = "{program}"\n')
    [found] = [each for each in doctor.examine(yard.repo, tries=True).findings if each.check == "tried agents"]
    log_in = "No log-in of claude can be seen: Call `claude auth login`, or set ANTHROPIC_API_KEY. "
    assert found.cure.startswith(f"{'' if key else log_in}Look whether its provider can be reached")


def test_what_a_killed_doctor_left_is_removed_by_the_next(yard: Any) -> None:
    checks: Path = yard.repo / "data/crewyard/checks"
    checks.mkdir(parents=True)
    yard.git(yard.repo, "worktree", "add", "--quiet", "--detach", str(checks / "try-999999999"))
    (checks / "try-999999999.runs").mkdir()
    tried(yard)

    assert list(checks.iterdir()) == []
    assert yard.worktrees() == 1


def test_without_being_asked_no_agent_is_run(yard: Any) -> None:
    yard.configure(f'[agents.toucher]\ncommand = ["touch", "{yard.folder}/touched"]\n')
    doctor.examine(yard.repo)

    assert not (yard.folder / "touched").exists()
