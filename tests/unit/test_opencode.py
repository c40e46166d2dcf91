"""Kind ``opencode``: how it is started, and what real runs of opencode 1.18 with scripted models have told."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewyard.server.errors import ConfigurationError
from crewyard.server.kinds import KINDS, Heard, Launch, Start
from crewyard.server.kinds.base import readable_text
from crewyard.server.kinds.opencode import OWN_SETTINGS
from crewyard.server.sections import QUOTA_PATTERN, Agent
from crewyard.server.spending import Spending

OPENCODE = KINDS["opencode"]
TRANSCRIPTS = Path(__file__).parent / "transcripts"
NOW = "2026-11-22T02:00:00.000Z"
CONVERSATION = "ses_dff0e76afffeNToS03QKl1sOWq"
STDIO = {"command": "/usr/bin/python", "args": ["-m", "crewyard"], "env": {"TOKEN": "secret"}}
HTTP = {"type": "http", "url": "http://127.0.0.1:8080/agents", "headers": {"Authorization": "Bearer secret"}}


def started(agent: Agent | None = None, *, resumes: bool = False, server: Any = STDIO, of: str = "writer") -> Start:
    here = Path("/work")
    launch = Launch(
        agent_id="a1", agent_type=of, task_id="T1", attempt=1, prompt="do it", prompt_file=here / "prompt.md",
        worktree=here / "tree", mcp_config=here / "mcp.json", program_config=here / "program.json",
        session_id=CONVERSATION, resumes=resumes, checks=["cd a && make test"], server=server,
    )  # fmt: skip
    return OPENCODE.start(agent or Agent(kind="opencode"), launch)


def ours(start: Start) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(start.environment["OPENCODE_CONFIG_CONTENT"])
    return loaded


def heard(name: str, pattern: str = QUOTA_PATTERN) -> Heard:
    return OPENCODE.heard((TRANSCRIPTS / f"opencode-{name}.jsonl").read_text(encoding="utf-8"), pattern, now=NOW)


def test_a_start_goes_on_with_the_conversation_that_it_is_told_and_shows_nothing_secret() -> None:
    first = started()
    assert list(first.argv) == ["opencode", "run", "--format", "json"]
    assert first.reads_prompt
    assert ours(first)["share"] == "disabled"
    again = started(Agent(kind="opencode", program="oc", model="a/b", arguments=["--thinking"]), resumes=True)
    assert list(again.argv[4:]) == ["--session", CONVERSATION, "--model", "a/b", "--thinking"]


def test_crewyard_is_reached_by_its_own_process_or_by_the_daemon() -> None:
    assert ours(started())["mcp"]["crewyard"] == {
        "type": "local",
        "command": ["/usr/bin/python", "-m", "crewyard"],
        "environment": {"TOKEN": "secret"},
    }
    remote = ours(started(server=HTTP))["mcp"]["crewyard"]
    assert remote == {"type": "remote", "url": HTTP["url"], "headers": HTTP["headers"], "oauth": False}


def test_each_permission_set_allows_no_more_than_it_says() -> None:
    look = ours(started(of="reviewer"))["permission"]
    assert next(iter(look.items())) == ("*", "deny"), "what is not named is refused, and the agent goes on"
    assert "edit" not in look
    assert not any(said == "allow" for said in list(look["bash"].values())[9:]), "the last one that matches counts"
    assert {"git diff* --no-i*", "git log* --ou*", "git show* /*", "git diff*>*"} <= look["bash"].keys()
    assert [pattern for pattern, said in look["bash"].items() if said == "allow"] == [
        *("git status", "git status *", "git diff", "git diff *", "git log", "git log *", "git show", "git show *"),
    ]

    edit = ours(started())["permission"]
    assert edit["edit"] == {"*": "allow", **dict.fromkeys(OWN_SETTINGS, "deny")}
    assert next(iter(edit["bash"].items())) == ("*", "deny")
    assert {"git commit *", "cd a && make test", "cd a", "make test"} <= edit["bash"].keys()

    agent = Agent(kind="opencode", permissions="run", allow=["webfetch", "edit(docs/*)", "bash(rm *)", "read"])
    run = ours(started(agent))["permission"]
    assert run["bash"]["*"] == "allow"
    assert next(reversed(run["bash"])) == "rm *"
    assert (run["webfetch"], run["edit"], run["read"]) == (
        {"*": "allow"},
        {"*": "allow", **dict.fromkeys(OWN_SETTINGS, "deny"), "docs/*": "allow"},
        {"*": "allow"},
    )


def test_a_run_tells_its_conversation_what_it_used_and_what_was_refused_it() -> None:
    told = heard("run")
    assert told.session == CONVERSATION
    assert told.spending is not None
    assert (told.spending.input_tokens, told.spending.output_tokens) == (90, 45)
    assert told.spending.cost_usd == pytest.approx(9 * 0.000105)
    assert told.denied == ["bash(rm -rf /work/zzz)", "write"]
    assert (told.error, told.limit, told.login) == (None, None, None)
    assert told.text.endswith("All done.")


def test_a_limit_lasts_as_long_as_its_provider_says_and_a_wrong_key_is_a_missing_login() -> None:
    limit = heard("limit").limit
    assert limit is not None
    assert limit.said == "Number of request tokens has exceeded your per-minute rate limit"
    assert limit.until == "2026-11-22T02:00:03.000Z"
    assert heard("limit", pattern="").limit is None, "never, where the settings say so"
    login = heard("login")
    assert (login.login, login.error, login.limit) == ("invalid x-api-key", "invalid x-api-key", None)


def test_thoughts_and_what_came_from_a_cache_count() -> None:
    tokens = {"input": 1, "output": 2, "reasoning": 4, "cache": {"read": 8, "write": 16}}
    line = json.dumps({"type": "step_finish", "part": {"type": "step-finish", "tokens": tokens, "cost": 0}})
    assert OPENCODE.heard(line, "", now=NOW).spending == Spending(25, 6, 0.0)


def test_the_preflight_names_what_is_missing(tmp_path: Path) -> None:
    OPENCODE.preflight("writer", Agent(kind="opencode", program="git", allow=["bash(npm *)"]), tmp_path)
    with pytest.raises(ConfigurationError, match="there is no program"):
        OPENCODE.preflight("writer", Agent(kind="opencode", program="no-such-program"), tmp_path)
    with pytest.raises(ConfigurationError, match="no permission of opencode's"):
        OPENCODE.preflight("writer", Agent(kind="opencode", program="git", allow=["npm test"]), tmp_path)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
WORDS = st.sampled_from(["error", "tool", "text", "step-finish", "retry-after", "ProviderAuthError", "99"]) | VALUES
KEYS = st.sampled_from([
    *("type", "sessionID", "part", "error", "data", "name", "statusCode", "message", "responseHeaders", "retry-after"),
    *("tool", "state", "input", "command", "tokens", "cache", "read", "cost", "text"),
])  # fmt: skip
OBJECTS = st.recursive(st.dictionaries(KEYS, WORDS), lambda inner: st.dictionaries(KEYS, WORDS | inner), max_leaves=6)
LINES = OBJECTS.map(json.dumps)


@given(st.lists(LINES | st.text()).map("\n".join) | st.binary().map(lambda data: data.decode(errors="replace")))
def test_no_output_whatever_breaks_the_reading(output: str) -> None:
    told = OPENCODE.heard(output, QUOTA_PATTERN, now=NOW)
    assert isinstance(told.text, str)
    assert isinstance(readable_text(OPENCODE, output), str)


@pytest.mark.parametrize("kind", ["codex", "gemini", "opencode"])
def test_half_an_event_is_no_word_of_the_programs(kind: str) -> None:
    """It was ended in the middle of one that holds what a model, or a file that it has read, says."""
    half = '{"type": "x", "text": "API key not valid. rate limit exceeded. patch rejected: 401 Unauthorized'
    told = KINDS[kind].heard(f'{{"type": "init"}}\n{half}', QUOTA_PATTERN, now=NOW)
    assert (told.limit, told.login, list(told.denied)) == (None, None, [])
