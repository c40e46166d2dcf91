"""Kind ``gemini``: Gemini CLI without a terminal, its events as lines of JSON."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
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

SHELL = "run_shell_command"
EDIT = ("replace", "write_file")
ALLOWED = re.compile(r"(?P<tool>[\w*-]+)(?:\((?P<prefix>.+)\))?", re.DOTALL)
LINE = 300
ALLOW = 'decision = "allow"\npriority = 100\n\n'
END = f"\n{ALLOW}[[rule]]\n"
COMMAND = '"command":"'
_REDIRECT = re.compile(r"\s*[0-9]*[<>]")
# Looking is by words that lead out of the worktree in no way. What git is not told here writes any file (`--output`),
# reads any (`--no-index`, which a path outside is by itself), or runs a program. It is what the shell would not change,
# to a whole command's end or to an `&&`, behind which Gemini CLI looks at each command by itself. No group is repeated:
# such a pattern it refuses.
_OPTIONS = (
    r"(?:[0-9]+|[bnpsuw]|-|-(?:stat|shortstat|numstat|oneline|name-only|name-status|cached|staged|short|branch|porcelain"
    r"|all|patch|no-patch|no-color|no-merges|merges|first-parent|reverse|decorate|follow|summary|graph)"
    r"|-(?:max-count|unified|since|until|author|grep|format|pretty)=[A-Za-z0-9_.:@%+-]*)"
)
LOOKING = (
    r'git (?:status|diff|log|show)(?=[ "])'
    r'(?![^"&]* [/~])(?![^"&]*\.\.[/ "])'
    rf'(?![^"&]* -(?!{_OPTIONS}[ "]))'
    r'[A-Za-z0-9_./@:^~,+=% -]*(?:"\x00| && )'
)
HOME = "gemini"  # in the run folder
OURS = f"{HOME}/.gemini"
EXTENSION = "extensions/crewyard/gemini-extension.json"
POLICY = "policies/crewyard.toml"
CHATS = "tmp"  # where it keeps its conversations, to which the next agent of a task comes back
MIXED = ("extensions", "policies")  # folders in which ours lie beside the user's
LIMIT = re.compile(r"RESOURCE_EXHAUSTED|exhausted your|wait and try again later|\"code\": ?429\b")
RETRY = re.compile(r"retry in (?:(?P<hours>\d{1,6})h)?(?:(?P<minutes>\d{1,6})m)?(?:(?P<seconds>\d{1,6})(?:\.\d+)?s)?")
LOGIN = re.compile(
    r"API key not valid|API_KEY_INVALID|UNAUTHENTICATED|\"code\": ?401\b|Please set an Auth method"
    r"|Invalid auth method selected|authentication consent could not be obtained"
)
OWN_FOLDER = re.compile(r"/.*/(?=settings\.json)")  # in a run folder, where it is linked to the user's
REFUSED = re.compile(r"denied by policy|requires user confirmation")
LOGINS = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_GCA", "GOOGLE_GENAI_USE_VERTEXAI")


class Gemini:
    """Gemini CLI. What no rule allows is refused, and told to the model.

    It takes MCP servers from settings and extensions only, and system settings only of root's. So it is given a home
    folder of its own, in which all that is the user's is linked, and Crewyard is one extension more.
    """

    program: Program | None = Program(
        "gemini",
        tried="0.61.0",
        log_in="gemini",
        keys=LOGINS,
        files=(".gemini/oauth_creds.json", ".gemini/gemini-credentials.json", ".gemini/google_accounts.json"),
        steered_by=(".gemini", ".env"),
        adds_server=("gemini", "mcp", "add", "crewyard"),
    )
    tells_session = True
    polls = True
    commits = True
    counts_conversation = False
    takes_allow = True
    variables: Sequence[str] = (
        *LOGINS,
        "GEMINI_CLI_SYSTEM_DEFAULTS_PATH",
        "GEMINI_CLI_SYSTEM_SETTINGS_PATH",
        "GEMINI_CLI_TRUSTED_FOLDERS_PATH",
        "GEMINI_MODEL",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_LOCATION",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_VERTEX_BASE_URL",
    )

    def preflight(self, name: str, agent: Agent, root: Path) -> None:
        """Raises ConfigurationError where it is not there, or is set not to trust ``root``."""
        program = agent.program or "gemini"
        require_program(f"agents.{name}", program, root)
        for words in agent.allow:
            if not (found := ALLOWED.fullmatch(words)) or (found["prefix"] and found["tool"] != SHELL):
                raise ConfigurationError(
                    f"agents.{name}.allow: {words!r} is no permission of Gemini CLI's.",
                    hint=f"Name a tool, or commands by how they begin: web_fetch, {SHELL}(npm test).",
                )
        if _is_distrusted(root):
            raise ConfigurationError(
                f"agents.{name}: Gemini CLI is set not to trust {root}.",
                hint=f"Start `{program}` there and change it with /permissions, or use another kind of agent.",
            )

    def start(self, agent: Agent, launch: Launch) -> Start:
        allowed = permissions.of(launch.agent_type, agent)
        words = [
            *(agent.program or "gemini", "--output-format", "stream-json", "--skip-trust"),
            *("--approval-mode", "default", "--allowed-mcp-server-names", "crewyard"),
            *("--resume" if launch.resumes else "--session-id", launch.session_id),
            *(("--model", agent.model) if agent.model else ()),
            *agent.arguments,
        ]
        user = _user_folder()
        files: dict[str, bytes | Path] = {f"{OURS}/{name}": user / name for name in (CHATS, *_entries(user))}
        files[f"{OURS}/{EXTENSION}"] = launch.program_config
        files[f"{OURS}/{POLICY}"] = _policy(allowed, launch, agent).encode()
        home = launch.program_config.parent / HOME
        extension = {"name": "crewyard", "version": "1.0.0", "mcpServers": {"crewyard": _server(launch.server)}}
        return Start(
            words,
            environment={"GEMINI_CLI_HOME": str(home)},
            config=json.dumps(extension).encode(),
            files=files,
            folders=[user / CHATS],
            reads_prompt=True,
        )

    def heard(self, output: str, quota_pattern: str, *, now: str) -> Heard:
        said = list(objects.of_lines(output))
        session: str | None = None
        result: dict[str, Any] = {}
        for each in said:
            if each.get("type") == "init":
                session = objects.text(each.get("session_id")) or session
            elif each.get("type") == "result":
                result = each
        text = last_lines(readable_text(self, output))
        error = _error(result)
        words = error or ("" if result else objects.besides(output))
        login = next((line for line in reversed(words.splitlines()) if LOGIN.search(line)), None)
        return Heard(
            text,
            session=session,
            spending=spending.of_gemini(result),
            error=error,
            limit=_limit(words, error, quota_pattern, now),
            login=login and cut(OWN_FOLDER.sub("~/.gemini/", login), LINE),
            denied=_denied(said),
        )

    def readable(self, line: str) -> str | None:
        said = objects.of_line(line)
        if said is None:
            return OWN_FOLDER.sub("~/.gemini/", line) if LOGIN.search(line) else line
        if said.get("type") == "message" and said.get("role") == "assistant":
            return objects.text(said.get("content"))
        if said.get("type") == "tool_use":
            return cut(f"→ {said.get('tool_name')} {json.dumps(said.get('parameters'), ensure_ascii=False)}", LINE)
        if said.get("type") == "tool_result" and said.get("status") == "error":
            return cut(f"✗ {_message(said.get('error'))}", LINE)
        if said.get("type") == "error":
            return objects.text(said.get("message"))
        return _error(said) if said.get("type") == "result" else None


def _user_folder() -> Path:
    return Path(os.environ.get("GEMINI_CLI_HOME") or Path.home()) / ".gemini"


def _entries(user: Path) -> Iterator[str]:
    """What there is in the user's folder, and in those of its folders in which ours lie beside it."""
    for path in sorted(user.iterdir()) if user.is_dir() else ():
        if path.name not in MIXED:
            if path.exists() and path.suffix != ".tmp":  # half-written, and soon gone
                yield path.name
        elif path.is_dir():
            yield from (f"{path.name}/{each.name}" for each in sorted(path.iterdir()) if each.stem != "crewyard")


def _is_distrusted(root: Path) -> bool:
    """Whether the nearest folder of which the user has said anything is one not to be trusted."""
    named = os.environ.get("GEMINI_CLI_TRUSTED_FOLDERS_PATH")
    try:
        rules = json.loads((Path(named) if named else _user_folder() / "trustedFolders.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    about = [path for path in rules if root.is_relative_to(path)] if isinstance(rules, dict) else []
    return bool(about) and rules[max(about, key=len)] == "DO_NOT_TRUST"


def _server(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a common MCP configuration in Gemini CLI's words."""
    if "url" in entry:
        return {"httpUrl": entry["url"], "headers": entry.get("headers", {})}
    return dict(entry)


def _policy(allowed: permissions.Permissions, launch: Launch, agent: Agent) -> str:
    """Rules for its policy engine, which denies what asks a person where there is none."""
    rules = ['mcpName = "crewyard"\ntoolName = "*"', _matching(LOOKING)]
    if allowed != "read":
        rules += [f"toolName = {_toml(EDIT)}", _commands(permissions.COMMIT)]
        rules += [_exactly(check) for check in launch.checks]
    if allowed == "run":
        rules.append(f"toolName = {_toml(SHELL)}\nallowRedirection = true")
    for words in agent.allow:
        found = ALLOWED.fullmatch(words)
        if found is not None:
            rules.append(_commands([found["prefix"]]) if found["prefix"] else f"toolName = {_toml([found['tool']])}")
    return f"[[rule]]\n{END.join(rules)}\n{ALLOW}"


def _commands(prefixes: Sequence[str]) -> str:
    return f"toolName = {_toml(SHELL)}\ncommandPrefix = {_toml(prefixes)}"


def _exactly(check: str) -> str:
    """This command and those that it is made of, each whole, as it asks about them: without their redirections too."""
    parts = permissions.parts(check)
    parts += [_REDIRECT.split(part)[0] for part in parts if _REDIRECT.search(part)]
    rules = [_matching(f'{_literally(part)}"\\x00') for part in dict.fromkeys(parts) if part]
    if _REDIRECT.search(check):
        rules = [f"{rule}\nallowRedirection = true" for rule in rules]
    return END.join(rules)


def _matching(command: str) -> str:
    """For commands that match: in its text of a call, a NUL is before and behind each argument and nowhere else."""
    pattern = rf"\x00{COMMAND}{command}"
    return f"toolName = {_toml(SHELL)}\nargsPattern = {_toml(pattern)}"


def _literally(command: str) -> str:
    """A pattern for the words of a command as they stand in its text of a call."""
    written = json.dumps(command, ensure_ascii=False)[1:-1]
    return re.sub(
        r"[^\w /=,:@%\"'-]", lambda found: f"\\u{ord(found[0]):04x}" if ord(found[0]) < 2**16 else found[0], written
    )


def _toml(words: str | Sequence[str]) -> str:
    """A string or a list of them, written alike in JSON and TOML but for one character."""
    return json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007f")


def _message(value: object) -> str | None:
    return objects.text(value.get("message")) if isinstance(value, dict) else None


def _error(result: Mapping[str, Any]) -> str | None:
    if result.get("status") != "error":
        return None
    return _message(result.get("error")) or "it said no more"


def _limit(words: str, error: str | None, pattern: str, now: str) -> Quota | None:
    """As the settings know limits; of an error, also as Gemini CLI words it. It has tried again itself by then."""
    known = endings.quota(words, pattern, now=now)
    if known is not None or not pattern or error is None or not LIMIT.search(error):
        return known
    line = cut(" ".join(error.split()), LINE)
    wait = RETRY.search(error)
    hours, minutes, seconds = (int(part or 0) for part in wait.groups()) if wait else (0, 0, 0)
    seconds += 60 * minutes + 3600 * hours
    return Quota(line, clock.plus(now, seconds) if 0 < seconds < endings.FARTHEST_SECONDS else None)


def _denied(said: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was refused it, as ``allow`` would name it."""
    calls = {str(each.get("tool_id")): each for each in said if each.get("type") == "tool_use"}
    refused = (
        calls.get(str(each.get("tool_id")))
        for each in said
        if each.get("type") == "tool_result" and REFUSED.search(_message(each.get("error")) or "")
    )
    return [_as_allowed(call) for call in refused if call is not None]


def _as_allowed(call: Mapping[str, Any]) -> str:
    given = call.get("parameters")
    command = given.get("command") if isinstance(given, dict) else None
    return cut(f"{call.get('tool_name')}({command})" if command else str(call.get("tool_name")), LINE)
