"""Kind ``codex``: how it is started, and what real runs of Codex CLI 0.169 with scripted models have told."""

import itertools
import json
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewyard.server import endings
from crewyard.server.errors import ConfigurationError
from crewyard.server.kinds import KINDS, Heard, Launch
from crewyard.server.kinds.base import readable_text
from crewyard.server.sections import QUOTA_PATTERN, Agent
from crewyard.server.spending import Spending

CODEX = KINDS["codex"]
TRANSCRIPTS = Path(__file__).parent / "transcripts"
NOW = "2026-11-22T01:40:00.000Z"
THREAD = "01a200f4-3346-7b10-9706-a8b15d5d2f29"
STDIO = {"command": "/usr/bin/python", "args": ["-m", "crewyard", "--repo", 'a "b"'], "env": {"TOKEN": "secret"}}
HTTP = {"type": "http", "url": "http://127.0.0.1:8080/agents", "headers": {"Authorization": "Bearer secret"}}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and the zone in which the transcripts were made."""
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "codex").mkdir()
    return tmp_path / "codex"


def recorded(name: str) -> str:
    return (TRANSCRIPTS / f"codex-{name}.jsonl").read_text(encoding="utf-8")


def heard(output: str, pattern: str = QUOTA_PATTERN, now: str = NOW) -> Heard:
    return CODEX.heard(output, pattern, now=now)


def started(agent_type: str = "code_developer", *, resumes: bool = False, server: Any = STDIO, **agent: Any) -> Any:
    here = Path("/work")
    launch = Launch(
        agent_id="a1", agent_type=agent_type, task_id="T1", attempt=1, prompt="do it", prompt_file=here / "prompt.md",
        worktree=here / "tree", mcp_config=here / "mcp.json", program_config=here / "program.json", session_id=THREAD,
        resumes=resumes, server=server,
    )  # fmt: skip
    return CODEX.start(Agent(kind="codex", **agent), launch)


def option(argv: list[str], name: str, beginning: str = "") -> str | None:
    return next((value for key, value in itertools.pairwise(argv) if key == name and value.startswith(beginning)), None)


def servers(start: Any) -> dict[str, Any]:
    return tomllib.loads(str(option(start.argv, "--config", "mcp_servers=")))["mcp_servers"]  # type: ignore[no-any-return]


def test_it_reads_its_prompt_from_its_standard_input_and_goes_on_with_its_thread() -> None:
    assert started().reads_prompt
    assert started(model="gpt-5.5").argv[-3:] == ["--model", "gpt-5.5", "-"]
    assert started(resumes=True, arguments=["--strict-config"]).argv[-4:] == ["--strict-config", "resume", THREAD, "-"]


def test_the_sandbox_is_as_narrow_as_the_role() -> None:
    assert option(started("code_reviewer").argv, "--sandbox") == "read-only"
    assert option(started().argv, "--sandbox") == "workspace-write"
    assert option(started(permissions="run").argv, "--sandbox") == "workspace-write"
    network = "sandbox_workspace_write.network_access"
    assert option(started().argv, "--config", network) is None
    assert option(started(permissions="run").argv, "--config", network) == f"{network}=true"


def test_the_sandbox_is_named_again_where_a_thread_is_resumed() -> None:
    argv = started(resumes=True).argv
    assert option(argv, "--sandbox") == "workspace-write"
    assert argv.index("--sandbox") < argv.index("resume")


@pytest.mark.parametrize("server", [STDIO, HTTP])
def test_no_secret_is_in_its_arguments(server: dict[str, Any]) -> None:
    start = started(server=server)
    assert not any("secret" in word for word in start.argv)


def test_crewyards_tools_need_no_approval_and_have_time() -> None:
    over_stdio, over_http = servers(started())["crewyard"], servers(started(server=HTTP))["crewyard"]
    assert (over_stdio["command"], over_stdio["args"]) == (STDIO["command"], STDIO["args"])
    assert over_stdio["env_vars"] == ["TOKEN"]
    assert (over_http["url"], over_http["bearer_token_env_var"]) == (HTTP["url"], "CREWYARD_AGENT_TOKEN")
    for server in (over_stdio, over_http):
        assert server["default_tools_approval_mode"] == "approve"
        assert server["tool_timeout_sec"] > 60


def test_the_users_own_servers_are_not_an_agents(home: Path) -> None:
    """Codex merges an entry of the same name: with the user's, ours would be neither of the two."""
    (home / "config.toml").write_text('[mcp_servers.crewyard]\ncommand = "x"\n[mcp_servers."a b"]\nurl = "http://y"\n')
    configured = servers(started(server=HTTP))
    assert configured["crewyard"] == configured["a b"] == {"enabled": False}
    assert configured["crewyard_worker"]["url"] == HTTP["url"]


@pytest.mark.parametrize("content", [b"", b"mcp_servers = 1", b"no toml", b"\xff", b"[other]\nx = 1"])
def test_a_configuration_without_servers_is_no_hindrance(home: Path, content: bytes) -> None:
    (home / "config.toml").write_bytes(content)
    assert list(servers(started())) == ["crewyard"]


def test_what_it_has_no_words_for_is_refused_before_it_starts(tmp_path: Path) -> None:
    program = tmp_path / "codex-program"
    with pytest.raises(ConfigurationError, match="there is no program"):
        CODEX.preflight("dev", Agent(kind="codex", program=str(program)), tmp_path)
    program.touch(mode=0o755)
    CODEX.preflight("dev", Agent(kind="codex", program=str(program)), tmp_path)
    with pytest.raises(ConfigurationError, match=r"agents\.dev\.allow") as refused:
        CODEX.preflight("dev", Agent(kind="codex", program=str(program), allow=["Bash"]), tmp_path)
    assert 'permissions = "run"' in refused.value.hint


def test_a_run_tells_its_thread_its_use_and_what_it_was_not_allowed() -> None:
    said = heard(recorded("worked"))
    assert said.session == THREAD
    assert said.spending == Spending(700, 70)
    assert (said.error, said.limit, said.login, said.question) == (None, None, None, None)
    assert said.denied == [
        "/bin/bash -lc 'sleep 0.5; git commit -am work'",
        "other.report",
        "patch rejected: writing outside of the project; rejected by user approval settings",
    ]
    assert said.text.endswith("The greeting is written.\nIt says hello.")


def test_a_run_is_readable() -> None:
    text = readable_text(CODEX, recorded("worked"))
    assert "I look at the files first.\n→ /bin/bash -lc ls\n→ add /work/tree/greeting.txt\n" in text
    assert "✗ fatal: Unable to create '/work/repo/.git/worktrees/tree/index.lock': Read-only file system\n" in text
    assert '→ report {"kind": "progress", "summary": "Half of it is done."}\n' in text
    assert "✗ MCP tool call requires approval, but approval policy is never\n" in text
    assert '{"type"' not in text


def test_a_resumed_run_tells_what_its_whole_thread_has_used() -> None:
    assert heard(recorded("resumed")).session == THREAD
    assert heard(recorded("resumed")).spending == Spending(800, 80)


def test_a_killed_run_tells_its_thread_and_no_error() -> None:
    said = heard(recorded("killed"))
    assert said.session == "01a200f3-7c3e-7182-b87a-1ad4a52ce07d"
    assert (said.error, said.spending) == (None, None)


def test_a_thread_that_is_gone_leaves_none_to_resume() -> None:
    said = heard(recorded("conversation-gone"))
    assert said.session is None
    assert "no rollout found" in said.text


@pytest.mark.parametrize(
    ("transcript", "until"),
    [
        ("usage-limit", "2026-11-22T02:41:00.000Z"),
        ("usage-limit-for-days", "2026-11-25T01:39:00.000Z"),
        ("usage-limit-of-a-key", "2026-11-22T02:47:00.000Z"),
        ("quota", None),
        ("rate-limit", None),
    ],
)
def test_a_limit_is_told_with_its_end(transcript: str, until: str | None) -> None:
    said = heard(recorded(transcript))
    assert said.limit is not None
    assert said.limit.said == said.error
    assert said.limit.until == until
    assert heard(recorded(transcript), "").limit is None  # the user wants none to be looked for


def test_the_end_of_a_limit_is_a_time_of_the_programs_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        limit = heard(recorded("usage-limit"), now="2026-11-21T20:40:00.000Z").limit
    finally:
        monkeypatch.undo()
        time.tzset()
    assert limit == endings.Quota(limit.said if limit else "", "2026-11-21T21:11:00.000Z")


def test_an_end_that_has_passed_is_none() -> None:
    limit = heard(recorded("usage-limit"), now="2026-11-22T03:00:00.000Z").limit
    assert limit is not None
    assert limit.until is None


def test_a_key_that_is_not_taken_is_a_log_in_that_is_missing() -> None:
    said = heard(recorded("not-logged-in"))
    assert said.login is not None
    assert said.login.startswith("unexpected status 401 Unauthorized")
    assert said.limit is None


def test_where_no_sandbox_can_be_made_a_run_that_ends_well_has_failed() -> None:
    said = heard(recorded("no-sandbox"))
    assert said.error is not None
    assert "bwrap: Creating new namespace failed" in said.error


def test_an_error_that_was_got_over_is_none() -> None:
    [begun, *_, failed] = recorded("rate-limit").splitlines()
    over = '{"type":"turn.completed","usage":{"input_tokens":1,"output_tokens":1}}'
    assert heard(f"{begun}\n{failed}\n{over}\n").error is None


words = st.sampled_from(["thread.started", "turn.completed", "turn.failed", "error", "item.started", "item.completed"])
items = st.sampled_from(["command_execution", "file_change", "mcp_tool_call", "agent_message", "reasoning", "error"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
KEYS = ("thread_id", "usage", "error", "message", "item", "text", "command", "changes", "status", "aggregated_output")
things = st.dictionaries(st.sampled_from(KEYS), values)
events = st.builds(
    lambda kind, facts, item, inner: json.dumps({**facts, "item": {**inner, "type": item}, "type": kind}),
    words, things, items, things,
)  # fmt: skip


@given(
    st.lists(events | things.map(json.dumps) | st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
)
def test_whatever_it_prints_is_heard(lines: list[str]) -> None:
    output = "\n".join(lines)
    heard(output)
    readable_text(CODEX, output)


def test_what_only_stands_in_a_file_was_not_refused() -> None:
    item = {"type": "command_execution", "status": "completed", "aggregated_output": "patch rejected: writing x"}
    assert heard(json.dumps({"type": "item.completed", "item": item})).denied == []


def test_an_event_is_heard_whatever_signs_stand_in_it() -> None:
    failed = {"type": "turn.failed", "error": {"message": "one\u2028two\u0085three"}}
    assert heard(json.dumps(failed, ensure_ascii=False)).error == "one\u2028two\u0085three"


def test_a_limit_until_the_end_of_time_is_a_limit() -> None:
    words = "You have hit your usage limit. Try again at Dec 31st, 9999 11:59 PM"
    limit = heard(json.dumps({"type": "turn.failed", "error": {"message": words}})).limit
    assert limit is not None
    assert limit.until is None
