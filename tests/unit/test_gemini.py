"""Kind ``gemini``: how it is started, and what real runs of Gemini CLI 0.61 with scripted models have told."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewyard.server import credentials
from crewyard.server.errors import ConfigurationError
from crewyard.server.kinds import KINDS, Heard, Launch, Start
from crewyard.server.kinds.base import readable_text
from crewyard.server.sections import QUOTA_PATTERN, Agent
from crewyard.server.spending import Spending

GEMINI = KINDS["gemini"]
TRANSCRIPTS = Path(__file__).parent / "transcripts"
NOW = "2026-11-22T02:00:00.000Z"
CONVERSATION = "7d3d3454-10fa-45a2-b402-c0070e37f193"
STDIO = {"command": "/usr/bin/python", "args": ["-m", "crewyard"], "env": {"TOKEN": "secret"}}
HTTP = {"type": "http", "url": "http://127.0.0.1:8080/agents", "headers": {"Authorization": "Bearer secret"}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has used Gemini CLI."""
    monkeypatch.setenv("GEMINI_CLI_HOME", str(tmp_path))
    folder = tmp_path / ".gemini"
    for name in ("extensions/theirs", "extensions/crewyard", "policies"):
        (folder / name).mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    (folder / "policies" / "never.toml").write_text("")
    return folder


def launch(run_dir: Path, *, resumes: bool = False, server: Any = STDIO, agent_type: str = "writer") -> Launch:
    return Launch(
        agent_id="a1", agent_type=agent_type, task_id="T1", attempt=1, prompt="do it", worktree=run_dir / "tree",
        prompt_file=run_dir / "prompt.md", mcp_config=run_dir / "mcp.json", program_config=run_dir / "program.json",
        session_id=CONVERSATION, resumes=resumes, checks=["cd 'a\\b' && make test,unit"], server=server,
    )  # fmt: skip


def started(run_dir: Path = Path("/run/a1"), agent: Agent | None = None, **facts: Any) -> Start:
    return GEMINI.start(agent or Agent(kind="gemini"), launch(run_dir, **facts))


def rules(start: Start) -> list[dict[str, Any]]:
    policy = start.files["gemini/.gemini/policies/crewyard.toml"]
    assert isinstance(policy, bytes)
    found: list[dict[str, Any]] = tomllib.loads(policy.decode())["rule"]
    assert {rule["decision"] for rule in found} == {"allow"}
    return found


def heard(name: str, pattern: str = QUOTA_PATTERN) -> Heard:
    return GEMINI.heard((TRANSCRIPTS / f"gemini-{name}.jsonl").read_text(encoding="utf-8"), pattern, now=NOW)


def test_a_start_names_its_conversation_and_nothing_secret_and_never_allows_everything(home: Path) -> None:
    start = started()
    assert list(start.argv) == [
        *("gemini", "--output-format", "stream-json", "--skip-trust", "--approval-mode", "default"),
        *("--allowed-mcp-server-names", "crewyard", "--session-id", CONVERSATION),
    ]
    assert start.reads_prompt, "so that no prompt is an option, or too long"
    again = started(agent=Agent(kind="gemini", program="g", model="flash", arguments=["--debug"]), resumes=True)
    assert again.argv[0] == "g"
    assert list(again.argv[-5:]) == ["--resume", CONVERSATION, "--model", "flash", "--debug"]


def test_its_home_holds_what_the_user_has_and_crewyard_beside_it(home: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (home / "projects.json.1f.tmp").write_text("")
    (home / "odd").symlink_to(tmp_path / "missing")
    start = started(run_dir)
    for _ in range(2):
        credentials.lay_down_start(run_dir, launch(run_dir), start)

    assert start.environment == {"GEMINI_CLI_HOME": str(run_dir / "gemini")}
    theirs = run_dir / "gemini" / ".gemini"
    assert (theirs / "settings.json").resolve() == home / "settings.json"
    assert (theirs / "policies" / "never.toml").resolve() == home / "policies" / "never.toml"
    assert (theirs / "extensions" / "theirs").resolve() == home / "extensions" / "theirs"
    assert (theirs / "tmp").resolve() == home / "tmp", "conversations outlive the run folder"
    assert (home / "tmp").is_dir()
    assert not (theirs / "projects.json.1f.tmp").is_symlink(), "half-written"
    assert not (tmp_path / "missing").exists(), "nothing else is made in the user's folders"
    ours = theirs / "extensions" / "crewyard" / "gemini-extension.json"
    assert json.loads(ours.read_text())["mcpServers"] == {"crewyard": STDIO}
    credentials.remove(run_dir)
    assert not ours.exists(), "the token goes with the agent"


def test_the_daemon_is_reached_by_http(home: Path) -> None:
    start = started(server=HTTP)
    assert json.loads(start.config or b"")["mcpServers"]["crewyard"] == {
        "httpUrl": HTTP["url"],
        "headers": HTTP["headers"],
    }


CHECKS = ["cd 'a\\b' && make test,unit", "cd 'a\\b'", "make test,unit"]


def lets(rule: dict[str, Any], command: str) -> bool:
    """Whether a rule matches a command, as Gemini CLI 0.61 hands it over."""
    call = f'{{\0"command":{json.dumps(command)}\0,\0"description":"x"\0}}'
    return re.search(rule["argsPattern"], call) is not None


@pytest.mark.parametrize(
    "command",
    ["git status", "git log --oneline -3", "git diff main..HEAD -- a/b.py", "git show HEAD~1:a --stat",
     "git log && rm a", "git log --format=%h -n 5"],
)  # fmt: skip
def test_one_looks_by_these(home: Path, command: str) -> None:
    assert lets(rules(started(agent_type="reviewer"))[1], command)


@pytest.mark.parametrize(
    "command",
    ["git log --output=/x", "git log --ou=x", "git log --output x", "git diff --no-index a b", "git diff /dev/null /x",
     "git diff a ../x", "git diff a ..", "git diff a b/..", "git diff a ~/x", "git show --ext-diff", "git log --textc",
     "git diff -O/x", "git diff '--output=x'", "git diff -\\-output=x", "git diff $X", "git log > x", "git log | tee x",
     "git log; rm a", "git log & rm a", "git log\nrm a", "git difftool x", "git status && git x", "xgit status",
     "git diff {--output=x,}", "git log --oneline --output=x", "git log\t--output=x", "git -c x=y log"],
)  # fmt: skip
def test_one_does_not_look_by_these(home: Path, command: str) -> None:
    rule = rules(started(agent_type="reviewer"))[1]
    behind = command.rpartition(" && ")[2]  # it asks about what is behind by itself
    assert not (lets(rule, command) and lets(rule, behind))


def test_each_permission_set_allows_no_more_than_it_says(home: Path) -> None:
    look = rules(started(agent_type="reviewer"))
    assert [rule.get("toolName") for rule in look] == ["*", "run_shell_command"]
    assert look[0]["mcpName"] == "crewyard"

    edit = rules(started())
    assert edit[2]["toolName"] == ["replace", "write_file"]
    assert edit[3]["commandPrefix"] == ["git add", "git commit", "git rm", "git mv"]
    assert [{command for command in CHECKS if lets(rule, command)} for rule in edit[4:]] == [{each} for each in CHECKS]
    for other in ("make test,unit /x", "cd 'a\\b' /x", "xmake test,unit", "make test.unit", "make"):
        assert not any(lets(rule, other) for rule in edit if "argsPattern" in rule)

    run = rules(started(agent=Agent(kind="gemini", permissions="run", allow=["web_fetch", "run_shell_command(x y)"])))
    assert run[7:] == [
        {"toolName": "run_shell_command", "allowRedirection": True, "decision": "allow", "priority": 100},
        {"toolName": ["web_fetch"], "decision": "allow", "priority": 100},
        {"toolName": "run_shell_command", "commandPrefix": ["x y"], "decision": "allow", "priority": 100},
    ]


def test_a_run_tells_its_conversation_its_tokens_and_what_was_refused_it() -> None:
    told = heard("run")
    assert told.session == CONVERSATION
    assert told.spending == Spending(80, 40)
    assert told.denied == ["run_shell_command(rm -rf /work/zzz)", "run_shell_command(git status > out.txt)"]
    assert (told.error, told.limit, told.login) == (None, None, None)
    assert "All done." in told.text
    assert '→ write_file {"file_path": "hello.txt"' in told.text


def test_a_daily_quota_is_a_limit_and_an_unknown_key_a_missing_login() -> None:
    quota = heard("limit")
    assert quota.error is not None
    assert quota.limit is not None
    assert "exhausted your daily quota" in quota.limit.said
    assert heard("limit", pattern="").limit is None, "never, where the settings say so"
    login = heard("login")
    assert (login.limit, "API key not valid" in (login.login or "")) == (None, True)


def test_a_limit_ends_when_its_provider_says() -> None:
    said = "[API Error: You are out. Please retry in 1h2m3.5s. (Status: RESOURCE_EXHAUSTED)]"
    line = json.dumps({"type": "result", "status": "error", "error": {"message": said}})
    limit = GEMINI.heard(line, QUOTA_PATTERN, now=NOW).limit
    assert limit is not None
    assert limit.until == "2026-11-22T03:02:03.000Z"


def test_without_a_login_it_says_so_before_its_first_event() -> None:
    said = "Please set an Auth method in your {}/settings.json or specify GEMINI_API_KEY"
    told = GEMINI.heard(said.format("/some where/agents/a-001/gemini/.gemini"), QUOTA_PATTERN, now=NOW)
    assert told.login == told.text == said.format("~/.gemini"), "not in the run folder, which is thrown away"


def test_the_preflight_names_what_is_missing(home: Path, tmp_path: Path) -> None:
    there = Agent(kind="gemini", program="git")
    GEMINI.preflight("writer", there, tmp_path)
    with pytest.raises(ConfigurationError, match="there is no program"):
        GEMINI.preflight("writer", Agent(kind="gemini", program="no-such-program"), tmp_path)
    with pytest.raises(ConfigurationError, match="no permission of Gemini CLI's"):
        GEMINI.preflight("writer", Agent(kind="gemini", program="git", allow=["web_fetch(x)"]), tmp_path)
    rules = {str(tmp_path): "DO_NOT_TRUST", str(tmp_path / "repo"): "TRUST_FOLDER"}
    (home / "trustedFolders.json").write_text(json.dumps(rules))
    GEMINI.preflight("writer", there, tmp_path / "repo")
    with pytest.raises(ConfigurationError, match="set not to trust"):
        GEMINI.preflight("writer", there, tmp_path / "other")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
WORDS = st.sampled_from(["init", "message", "tool_use", "tool_result", "error", "result", "assistant", "x"]) | VALUES
KEYS = st.sampled_from([
    *("type", "role", "session_id", "content", "tool_name", "tool_id", "parameters", "status", "error", "message"),
    *("stats", "input_tokens", "output_tokens", "command"),
])  # fmt: skip
LINES = st.dictionaries(KEYS, WORDS | st.dictionaries(KEYS, WORDS)).map(json.dumps)


@given(st.lists(LINES | st.text()).map("\n".join) | st.binary().map(lambda data: data.decode(errors="replace")))
def test_no_output_whatever_breaks_the_reading(output: str) -> None:
    told = GEMINI.heard(output, QUOTA_PATTERN, now=NOW)
    assert isinstance(told.text, str)
    assert isinstance(readable_text(GEMINI, output), str)


def test_words_of_its_model_are_no_missing_log_in() -> None:
    said = json.dumps({"type": "message", "role": "assistant", "content": "The test says UNAUTHENTICATED"})
    assert GEMINI.heard(said, QUOTA_PATTERN, now=NOW).login is None
    assert GEMINI.heard(f"{said}\nAPI key not valid\n", QUOTA_PATTERN, now=NOW).login == "API key not valid"


def test_a_check_lets_redirect_only_what_it_redirects_itself(home: Path) -> None:
    assert not any("allowRedirection" in rule for rule in rules(started()))
