"""Kind ``opencode``: opencode without a terminal, ``opencode run``, its events as lines of JSON."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import clock, endings, spending
from ..endings import Quota
from ..errors import ConfigurationError
from ..sections import Agent
from ..wording import cut, last_lines
from . import objects, permissions
from .base import Heard, Launch, Start, readable_text
from .command import require_program
from .program import Program

LOOK = ("read", "glob", "grep", "list", "lsp", "skill", "todoread", "todowrite", "crewyard_*")
ALLOWED = re.compile(r"(?P<permission>[\w*-]+)(?:\((?P<pattern>.+)\))?", re.DOTALL)
LINE = 300
# What it starts with the next agent, servers and plugins, is not for an agent to write.
OWN_SETTINGS = ("*opencode.json", "*opencode.jsonc", "*.opencode/*")
# What a command with which one looks may not hold: it would write a file (`--output`, a redirection), read one that
# lies outside (`--no-index`, which such a path is by itself), start a program, or be another one for the shell.
BEYOND_LOOKING = (
    *("* --ou*", "* --no-i*", "* --ext*", "* --textc*", "* -O*"),
    *("* /*", "* ~*", "*../*", "*..", "*.. *", "*\t*"),
    *('*"*', "*'*", "*\\*", "*$*", "*`*", "*{*"),
)
REDIRECTIONS = ("*<*", "*>*")
KEYS = (
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_GENERATIVE_AI_API_KEY",
    "OPENAI_API_KEY",
    "OPENCODE_API_KEY",
    "OPENROUTER_API_KEY",
)
REFUSED = re.compile(r"specified a rule which prevents|rejected permission")
RETRY_AFTER = "retry-after"


class Opencode:
    """opencode. What is not allowed is denied: where it would ask a person, it ends its run without a word of it."""

    program: Program | None = Program(
        "opencode",
        tried="1.18.33",
        log_in="opencode auth login",
        keys=KEYS,
        files=(".local/share/opencode/auth.json",),
        steered_by=(".opencode", "opencode.json", "opencode.jsonc"),
        adds_server=("opencode", "mcp", "add", "crewyard", "--"),
        adds_everywhere=True,
    )
    tells_session = True
    polls = True
    commits = True
    counts_conversation = False
    takes_allow = True
    variables: Sequence[str] = (
        *KEYS,
        "ANTHROPIC_BASE_URL",
        "OPENCODE_CONFIG",
        "OPENCODE_CONFIG_DIR",
        "OPENCODE_DISABLE_MODELS_FETCH",
    )

    def preflight(self, name: str, agent: Agent, root: Path) -> None:
        """Raises ConfigurationError where the program is not there, or is to be allowed what it has no words for."""
        require_program(f"agents.{name}", agent.program or "opencode", root)
        for words in agent.allow:
            if not ALLOWED.fullmatch(words):
                raise ConfigurationError(
                    f"agents.{name}.allow: {words!r} is no permission of opencode's.",
                    hint="Name one, with a pattern or without: webfetch, bash(npm test*).",
                )

    def start(self, agent: Agent, launch: Launch) -> Start:
        words = [
            *(agent.program or "opencode", "run", "--format", "json"),
            *(("--session", launch.session_id) if launch.resumes else ()),
            *(("--model", agent.model) if agent.model else ()),
            *agent.arguments,
        ]
        # A file of ours would lie below the project's own; this lies above all but an administrator's.
        ours = {
            "share": "disabled",
            "mcp": {"crewyard": _server(launch.server)},
            "permission": _permission(permissions.of(launch.agent_type, agent), launch, agent),
        }
        variables = {"OPENCODE_CONFIG_CONTENT": json.dumps(ours), "OPENCODE_DISABLE_AUTOUPDATE": "1"}
        return Start(words, environment=variables, reads_prompt=True)

    def heard(self, output: str, quota_pattern: str, *, now: str) -> Heard:
        said = list(objects.of_lines(output))
        parts = [part for each in said if isinstance(part := each.get("part"), dict)]
        failed = next((each for each in reversed(said) if each.get("type") == "error"), None)
        error = _error(failed) if failed else None
        return Heard(
            last_lines(readable_text(self, output)),
            session=next((found for each in said if (found := objects.text(each.get("sessionID")))), None),
            spending=spending.of_opencode(part for part in parts if part.get("type") == "step-finish"),
            error=error,
            limit=_limit(failed, error or objects.besides(output), quota_pattern, now),
            login=error if _status(failed) == 401 or _name(failed) == "ProviderAuthError" else None,
            denied=[_as_allowed(part) for part in parts if REFUSED.search(_state(part, "error") or "")],
        )

    def readable(self, line: str) -> str | None:
        said = objects.of_line(line)
        if said is None:
            return line
        part = said.get("part")
        if said.get("type") == "error":
            return _error(said)
        if not isinstance(part, dict):
            return None
        if part.get("type") == "tool":
            return _of_call(part)
        return objects.text(part.get("text")) if part.get("type") == "text" else None


def _server(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a common MCP configuration in opencode's words."""
    if "url" in entry:
        return {"type": "remote", "url": entry["url"], "headers": entry.get("headers", {}), "oauth": False}
    command = [entry["command"], *entry.get("args", ())]
    return {"type": "local", "command": command, "environment": entry.get("env", {})}


def _permission(allowed: permissions.Permissions, launch: Launch, agent: Agent) -> dict[str, Any]:
    """The last rule that matches counts, so the user's own for commands hold where they are narrower than ours."""
    commands = {"*": "allow" if allowed == "run" else "deny"}
    if allowed != "run":
        begins = [*permissions.LOOK, *(() if allowed == "read" else permissions.COMMIT)]
        commands |= {pattern: "allow" for begin in begins for pattern in (begin, f"{begin} *")}
        commands |= {f"{look}{each}": "deny" for look in permissions.LOOK for each in BEYOND_LOOKING}
        commands |= {f"{begin}{each}": "deny" for begin in begins for each in REDIRECTIONS}
    rules: dict[str, Any] = {"*": "deny", **dict.fromkeys(LOOK, "allow"), "bash": commands}
    if allowed != "read":
        rules["edit"] = {"*": "allow", **dict.fromkeys(OWN_SETTINGS, "deny")}
        commands |= {part: "allow" for check in launch.checks for part in permissions.parts(check)}
    for words in agent.allow:
        found = ALLOWED.fullmatch(words)
        if found is not None:
            _allow(rules, found["permission"], found["pattern"])
    return rules


def _allow(rules: dict[str, Any], permission: str, pattern: str | None) -> None:
    known = rules.pop(permission, {})
    patterns = known if isinstance(known, dict) else {"*": known}
    patterns.pop(pattern or "*", None)
    rules[permission] = {**patterns, pattern or "*": "allow"}


def _data(failed: Mapping[str, Any] | None) -> dict[str, Any]:
    error = failed.get("error") if failed else None
    data = error.get("data") if isinstance(error, dict) else None
    return data if isinstance(data, dict) else {}


def _name(failed: Mapping[str, Any] | None) -> object:
    error = failed.get("error") if failed else None
    return error.get("name") if isinstance(error, dict) else None


def _status(failed: Mapping[str, Any] | None) -> object:
    return _data(failed).get("statusCode")


def _error(failed: Mapping[str, Any]) -> str:
    return objects.text(_data(failed).get("message")) or objects.text(_name(failed)) or "it said no more"


def _limit(failed: Mapping[str, Any] | None, words: str, pattern: str, now: str) -> Quota | None:
    """As the settings know limits, or by the answer's status. opencode has tried again itself by then."""
    headers = _data(failed).get("responseHeaders")
    after = headers.get(RETRY_AFTER) if isinstance(headers, dict) else None
    known = endings.quota(words, pattern, now=now)
    if known is None and pattern and _status(failed) == 429:
        known = Quota(cut(words, LINE), None)
    if known is None or known.until or not isinstance(after, str) or not re.fullmatch(r"[0-9]{1,6}", after):
        return known
    return Quota(known.said, clock.plus(now, min(int(after), endings.FARTHEST_SECONDS)))


def _state(part: Mapping[str, Any], name: str) -> str | None:
    state = part.get("state")
    return objects.text(state.get(name)) if isinstance(state, dict) else None


def _input(part: Mapping[str, Any]) -> object:
    state = part.get("state")
    return state.get("input") if isinstance(state, dict) else None


def _as_allowed(part: Mapping[str, Any]) -> str:
    """What was refused it, as ``allow`` would name it."""
    given = _input(part)
    command = given.get("command") if isinstance(given, dict) else None
    return cut(f"{part.get('tool')}({command})" if command else str(part.get("tool")), LINE)


def _of_call(part: Mapping[str, Any]) -> str:
    called = cut(f"→ {part.get('tool')} {json.dumps(_input(part), ensure_ascii=False)}", LINE)
    failed = _state(part, "error")
    return f"{called}\n{cut(f'✗ {failed}', LINE)}" if failed else called
