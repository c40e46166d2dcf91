"""Kind ``codex``: Codex CLI without a terminal, ``codex exec --json``, its events as lines of JSON."""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import clock, endings, spending
from ..endings import Quota
from ..environment import AGENT_TOKEN
from ..errors import ConfigurationError
from ..sections import Agent
from ..wording import cut, last_lines
from . import objects, permissions
from .base import Heard, Launch, Start, readable_text
from .command import require_program
from .program import Program

LINE = 300
# Codex gives a server ten seconds to start; a machine on which a crew works is slower than that.
STARTUP_SECONDS = 60
TOOL_SECONDS = 120  # longer than our longest wait for mail
LIMIT = re.compile(r"hit your usage limit|^Quota exceeded\.|last status: 429\b|^rate limit exceeded\b|out of credits")
RESET = re.compile(r"[Tt]ry again at (?:(?P<day>\w{3} \d{1,2})\w{2}, (?P<year>\d{4}) )?(?P<time>\d{1,2}:\d\d [AP]M)")
LOGIN = re.compile(r"\b401 Unauthorized\b|access token could not be refreshed|sign in again", re.IGNORECASE)
REFUSED = re.compile(r"(patch rejected: [^\n]*)")
NO_SANDBOX = "bwrap: "
READ_ONLY = "Read-only file system"  # what lies outside of the sandbox
MINUTE = 60.0


class Codex:
    """Codex CLI. It asks nobody, and its sandbox is what its commands may do; in it git's own folder is read-only."""

    program: Program | None = Program(
        "codex",
        tried="0.169.0",
        log_in="codex login",
        keys=("CODEX_API_KEY", "CODEX_ACCESS_TOKEN"),
        files=(".codex/auth.json",),
        home="CODEX_HOME",
        steered_by=(".codex",),
        adds_server=("codex", "mcp", "add", "crewyard", "--"),
        adds_everywhere=True,
    )
    tells_session = True
    polls = True
    commits = False
    takes_allow = False
    counts_conversation = True
    variables: Sequence[str] = ("CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "CODEX_HOME")

    def preflight(self, name: str, agent: Agent, root: Path) -> None:
        """Raises ConfigurationError where the program is not there, or is to be allowed what it has no words for."""
        require_program(f"agents.{name}", agent.program or "codex", root)
        if agent.allow:
            raise ConfigurationError(
                f"agents.{name}.allow: Codex has no permissions for single tools or commands.",
                hint='Take allow away; permissions = "run" opens the network to what it runs in its sandbox.',
            )

    def start(self, agent: Agent, launch: Launch) -> Start:
        allowed = permissions.of(launch.agent_type, agent)
        words = [
            *(agent.program or "codex", "exec", "--json", "--sandbox"),
            "read-only" if allowed == "read" else "workspace-write",
            *(("--config", "sandbox_workspace_write.network_access=true") if allowed == "run" else ()),
            *("--config", f"mcp_servers={_toml(_servers(launch.server, _configured()))}"),
            *(("--model", agent.model) if agent.model else ()),
            *agent.arguments,
            *(("resume", launch.session_id) if launch.resumes else ()),
            "-",
        ]
        return Start(words, reads_prompt=True)

    def heard(self, output: str, quota_pattern: str, *, now: str) -> Heard:
        said = list(objects.of_lines(output))
        error = _error(said)
        return Heard(
            last_lines(readable_text(self, output)),
            session=next(
                (objects.text(each.get("thread_id")) for each in said if each.get("type") == "thread.started"), None
            ),
            spending=next((spending.of_codex(each) for each in reversed(said) if _ended_well(each)), None),
            error=error,
            limit=_limit(error, quota_pattern, now) if error else None,
            login=error if error and LOGIN.search(error) else None,
            denied=[*_refused(said), *REFUSED.findall(objects.besides(output))],
        )

    def readable(self, line: str) -> str | None:
        said = objects.of_line(line)
        if said is None:
            return line
        if said.get("type") == "error":
            return _shown("✗", said.get("message"))
        item = _item(said)
        return _of_item(item, str(said.get("type"))) if item else None


def _servers(entry: Mapping[str, Any], others: Sequence[str]) -> dict[str, Any]:
    """Our server and no other: theirs are not in the sandbox. It merges an entry of the same name with the user's."""
    reached = (
        {"url": entry["url"], "bearer_token_env_var": AGENT_TOKEN}
        if "url" in entry
        else {"command": entry["command"], "args": entry["args"], "env_vars": sorted(entry["env"])}
    )
    limits = {"startup_timeout_sec": STARTUP_SECONDS, "tool_timeout_sec": TOOL_SECONDS}
    name = next(name for name in ("crewyard", "crewyard_worker", "crewyard_agent") if name not in others)
    # Without a word on approval it would refuse each call of a tool that changes something.
    ours = {**reached, **limits, "default_tools_approval_mode": "approve"}
    return {name: ours, **{other: {"enabled": False} for other in others}}


def _configured(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The MCP servers that the user's own configuration names; none where it cannot be read, which it says itself."""
    home = Path(environ.get("CODEX_HOME") or Path(environ.get("HOME", "/")) / ".codex")
    try:
        servers = tomllib.loads((home / "config.toml").read_text(encoding="utf-8")).get("mcp_servers")
    except (OSError, ValueError):
        return []
    return list(servers) if isinstance(servers, dict) else []


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(name)} = {_toml(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # What JSON escapes, TOML does too; a surrogate, which JSON would make of other characters, it does not know.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _error(said: Sequence[dict[str, Any]]) -> str | None:
    """What went wrong at last. Errors that were got over are events as well, behind which there is more."""
    for number, each in enumerate(reversed(said)):
        if _ended_well(each):
            break
        failed = each.get("error") if each.get("type") == "turn.failed" else each
        if each.get("type") == "turn.failed" or (each.get("type") == "error" and not number):
            return (objects.text(failed.get("message")) if isinstance(failed, dict) else None) or "it said no more"
    return _without_sandbox(said)


def _without_sandbox(said: Sequence[dict[str, Any]]) -> str | None:
    """Where no sandbox can be made no command is run, and Codex ends well, having done nothing."""
    commands = [item for item in map(_item, said) if item and item.get("type") == "command_execution"]
    ended = [str(item.get("aggregated_output")) for item in commands if item.get("status") in ("completed", "failed")]
    if not ended or not all(output.startswith(NO_SANDBOX) for output in ended):
        return None
    return cut(f"It can make no sandbox here, and so runs no command: {ended[-1].strip()}", LINE)


def _limit(error: str, quota_pattern: str, now: str) -> Quota | None:
    """The account's limit. An empty pattern says that there is none to look for."""
    found = endings.quota(error, quota_pattern, now=now)
    if found is not None and found.until is not None:
        return found
    if not quota_pattern or (found is None and not LIMIT.search(error)):
        return None
    return Quota(cut(error, LINE), _until(error, now))


def _until(error: str, now: str) -> str | None:
    """When it is over: a minute of the local time, of today where it names no day."""
    named = RESET.search(error)
    if named is None:
        return None
    here = clock.parse(now).astimezone()
    day = f"{named['day']} {named['year']}" if named["day"] else here.strftime("%b %d %Y")
    try:
        moment = datetime.strptime(f"{day} {named['time']}", "%b %d %Y %I:%M %p").astimezone()
        until = clock.plus(clock.to_text(moment), MINUTE)  # it leaves the seconds out
    except (ValueError, OverflowError):
        return None
    return until if now < until < clock.plus(now, endings.FARTHEST_SECONDS) else None


def _refused(said: Sequence[dict[str, Any]]) -> Iterator[str]:
    for item in filter(None, map(_item, said)):
        error = item.get("error")
        is_kept_out = item.get("status") == "failed" and READ_ONLY in str(item.get("aggregated_output"))
        if item.get("type") == "command_execution" and (is_kept_out or item.get("status") == "declined"):
            yield cut(str(item.get("command")), LINE)
        elif isinstance(error, dict) and "requires approval" in str(error.get("message")):
            yield cut(f"{item.get('server')}.{item.get('tool')}", LINE)


def _ended_well(said: Mapping[str, Any]) -> bool:
    return said.get("type") == "turn.completed"


def _item(said: Mapping[str, Any]) -> dict[str, Any] | None:
    item = said.get("item")
    return item if isinstance(item, dict) else None


def _of_item(item: Mapping[str, Any], event: str) -> str | None:
    kind, is_begun, is_ended = item.get("type"), event == "item.started", event == "item.completed"
    if kind in ("agent_message", "reasoning") and is_ended:
        return objects.text(item.get("text"))
    if kind == "command_execution" and is_begun:
        return _shown("→", item.get("command"))
    if kind == "command_execution" and is_ended and item.get("status") != "completed":
        return _shown("✗", last_lines(str(item.get("aggregated_output")), LINE).strip())
    if kind == "file_change" and is_ended:
        return _shown("✗" if item.get("status") == "failed" else "→", _changes(item.get("changes")))
    if kind == "mcp_tool_call" and is_begun:
        return _shown("→", f"{item.get('tool')} {json.dumps(item.get('arguments'), ensure_ascii=False)}")
    if kind == "mcp_tool_call" and is_ended and isinstance(error := item.get("error"), dict):
        return _shown("✗", error.get("message"))
    return _shown("✗", item.get("message")) if kind == "error" and is_ended else None


def _changes(changes: object) -> str:
    found = [each for each in changes if isinstance(each, dict)] if isinstance(changes, list) else []
    return ", ".join(f"{each.get('kind')} {each.get('path')}" for each in found)


def _shown(mark: str, text: object) -> str | None:
    return cut(f"{mark} {text}", LINE) if isinstance(text, str) and text else None
