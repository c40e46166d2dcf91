"""Kind ``claude``: how it is started, and what real runs of Claude Code with scripted models have told."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewyard.server.endings import Quota
from crewyard.server.kinds import KINDS, Heard, Launch
from crewyard.server.sections import QUOTA_PATTERN, Agent
from crewyard.server.spending import Spending

CLAUDE = KINDS["claude"]
TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("claude-*.jsonl"))
VERSIONS = ("2.1.197", "2.1.330")
NOW = "2026-11-22T01:00:00.000Z"


def recorded(name: str, version: str) -> str:
    return (Path(__file__).parent / "transcripts" / f"claude-{name}-{version}.jsonl").read_text(encoding="utf-8")


def heard(output: str) -> Heard:
    return CLAUDE.heard(output, QUOTA_PATTERN, now=NOW)


def launch(**facts: Any) -> Launch:
    run = Path("/runs/1")
    given = {"agent_type": "builder", "resumes": False, "checks": ()} | facts
    return Launch(
        agent_id="builder-1", task_id="T", attempt=1, prompt="# T", prompt_file=run / "prompt.md",
        worktree=Path("/w"), mcp_config=run / "mcp.json", program_config=run / "program.json", session_id="s", **given,
    )  # fmt: skip


def argv(agent: Agent, **facts: Any) -> list[str]:
    return list(CLAUDE.start(agent, launch(**facts)).argv)


def rules(words: list[str]) -> list[str]:
    """What it is allowed: the settings that it is given, and the list at the end."""
    settings = json.loads(words[words.index("--settings") + 1])
    return [*settings["permissions"]["allow"], *words[words.index("--allowedTools") + 1 :]]


# --------------------------------------------------------------------------------------------- how it is started


def test_a_conversation_is_begun_by_its_id_and_resumed_by_it() -> None:
    agent = Agent(kind="claude", model="opus")
    assert argv(agent)[5:7] == ["--session-id", "s"]
    resumed = argv(agent, resumes=True)
    assert resumed[5:7] == ["--resume", "s"]
    assert resumed[resumed.index("--model") + 1] == "opus"
    assert CLAUDE.start(agent, launch()).reads_prompt


@pytest.mark.parametrize("level", ["read", "edit", "run"])
def test_no_set_of_permissions_takes_in_files_outside_the_worktree_or_bypasses_anything(level: Any) -> None:
    words = argv(Agent(kind="claude", permissions=level), checks=["make test"])
    assert not {"Read", "Edit", "Write", "NotebookEdit"} & set(rules(words)), "bare, these are of the whole machine"
    assert not [rule for rule in rules(words) if rule.startswith(("Bash(git diff", "Bash(git log", "Bash(git show"))]
    assert "bypass" not in " ".join(words)
    assert "dangerously" not in " ".join(words)
    assert words[words.index("--permission-mode") + 1] == ("default" if level == "read" else "acceptEdits")
    assert words[words.index("--disallowedTools") + 1] == "EnterWorktree"
    assert "--strict-mcp-config" in words


def test_a_check_is_allowed_as_it_stands_and_not_where_one_only_looks() -> None:
    check = "node -e 'f(1),g(2)' \\\n && make test"
    escaped = "Bash(node -e 'f\\(1\\),g\\(2\\)' \\\\\n && make test)"
    assert escaped in rules(argv(Agent(kind="claude"), checks=[check]))
    assert rules(argv(Agent(kind="claude", permissions="read"), checks=[check])) == ["mcp__crewyard"]
    allowed = rules(argv(Agent(kind="claude", allow=["Bash(npm ci)"], permissions="run")))
    assert allowed == ["mcp__crewyard", "Bash", "Bash(npm ci)"]


# --------------------------------------------------------------------------------------------- what it told


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_that_went_well_tells_its_conversation_its_use_and_what_was_refused(version: str) -> None:
    told = heard(recorded("success", version))
    assert (told.error, told.limit, told.login, told.question) == (None, None, None, None)
    assert told.session is not None
    assert told.denied[0] == "Bash(git -C /work/repository log --oneline -1)"
    assert told.text.startswith("→ Bash git status --short\n→ Bash git diff\n")
    assert "✗ This command requires approval" in told.text
    assert "✓ done ($0.0" in told.text
    assert "{" not in told.text


def test_a_run_of_two_turns_has_the_tokens_of_both_and_the_cost_once() -> None:
    told = heard(recorded("success", "2.1.330"))
    assert told.spending == Spending(600, 300, 0.008680000000000005)


@pytest.mark.parametrize(("version", "cost"), [("2.1.197", 0.000175), ("2.1.330", 0.00014)])
def test_a_resumed_run_tells_what_it_has_cost_itself_also_where_its_total_is_that_of_the_conversation(
    version: str, cost: float
) -> None:
    assert heard(recorded("resumed", version)).spending == Spending(10, 5, pytest.approx(cost))


@pytest.mark.parametrize(
    ("version", "said", "until"),
    [
        ("2.1.197", "You've hit your session limit · resets 3am (UTC)", "2026-11-22T03:00:54.000Z"),
        ("2.1.330", "You've hit your 5-hour limit · resets 2:48am (UTC)", "2026-11-22T02:48:56.000Z"),
    ],
)
def test_a_limit_is_told_with_the_second_in_which_it_ends(version: str, said: str, until: str) -> None:
    told = heard(recorded("limit", version))
    assert told.limit == Quota(said, until)
    assert told.error == said
    assert told.session is not None, "what it had begun is gone on with"


@pytest.mark.parametrize(
    ("name", "version"), [("overloaded", "2.1.330"), ("no-network", "2.1.197"), ("no-network", "2.1.330")]
)
def test_a_provider_that_does_not_answer_is_waited_for_as_a_limit_is(name: str, version: str) -> None:
    told = heard(recorded(name, version))
    assert told.limit is not None
    assert told.limit.until is None
    assert told.text.startswith("… no answer (")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "said"),
    [("not-logged-in", "Not logged in · Please run /login"), ("wrong-key", "Invalid API key · Fix external API key")],
)
def test_one_that_is_not_logged_in_says_so_in_its_own_words(name: str, said: str, version: str) -> None:
    told = heard(recorded(name, version))
    assert (told.login, told.error, told.limit) == (said, said, None)
    assert (told.text.count(said), told.text.splitlines()[-1]) == (1, f"✗ {said}"), "without the cost of nothing"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_end_of_its_turns_is_an_error_of_the_run(version: str) -> None:
    told = heard(recorded("max-turns", version))
    assert (told.error, told.limit, told.login) == ("Reached maximum number of turns (1)", None, None)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_conversation_that_is_not_there_is_not_gone_on_with(version: str) -> None:
    told = heard(recorded("no-conversation", version))
    assert told.session is None
    assert told.error is not None


@pytest.mark.parametrize("version", VERSIONS)
def test_one_that_was_killed_has_a_conversation_from_its_first_answer_on(version: str) -> None:
    lines = recorded("success", version).splitlines(keepends=True)
    assert heard(lines[0]).session is None, "nothing was written of it"
    killed = heard("".join(lines[:3]) + lines[3][:40])
    assert killed.session is not None
    assert (killed.error, killed.spending) == (None, None)


def test_words_of_a_limit_in_its_work_are_no_limit() -> None:
    said = {
        "type": "assistant",
        "message": {"content": [{"type": "text", "text": "rate_limit_error: usage limit hit"}]},
    }
    done = {"type": "result", "subtype": "success", "is_error": False, "result": "usage limit reached|1795316454"}
    assert heard(f"{json.dumps(said)}\n{json.dumps(done)}\n").limit is None


def test_a_question_that_it_was_refused_to_ask_is_a_persons() -> None:
    asked = {"tool_name": "AskUserQuestion", "tool_input": {"questions": [{"question": "Which colour?"}]}}
    assert heard(json.dumps({"type": "result", "permission_denials": [asked]})).question == "Which colour?"


def test_what_is_no_event_is_read_as_it_stands_and_bounded() -> None:
    assert CLAUDE.readable("Error: Session ID s is already in use.") == "Error: Session ID s is already in use."
    assert len(CLAUDE.readable("x" * 100_000) or "") <= 4000
    call = {"type": "tool_use", "name": "Bash", "input": {"command": "cat <<'EOF'\n" + "y" * 9000}}
    read = CLAUDE.readable(json.dumps({"type": "assistant", "message": {"content": [call]}})) or ""
    assert read.startswith("→ Bash cat <<'EOF' yyy")
    assert len(read) <= 300


# --------------------------------------------------------------------------------------------- anything at all

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=10**9))
def test_no_bytes_in_an_output_hinder_that_its_end_is_taken_in(garbage: bytes, seed: int) -> None:
    chance = random.Random(seed)
    data = chance.choice(TRANSCRIPTS).read_bytes()
    at = chance.randrange(len(data))
    heard((data[:at] + garbage + data[at + chance.randrange(200) :]).decode(errors="replace"))


@given(st.data())
def test_no_value_in_an_event_hinders_that_it_is_read(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(TRANSCRIPTS)).read_text(encoding="utf-8").splitlines()
    event = json.loads(data.draw(st.sampled_from(lines)))
    place: Any = event
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    heard("\n".join([*lines, json.dumps(event)]))
