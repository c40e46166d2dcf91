"""Agent programs: whether they are there, and what can be known of their being logged in without asking anybody.

Whether a key or a log-in is still good only its provider knows. No file is read here, only looked for.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import kinds
from ..environment import ALLOWED
from ..errors import ConfigurationError
from ..sections import Agent
from ..settings import FILE_NAME
from .patient import Finding, Patient, fine, problem, warning


@dataclass(frozen=True)
class LogIn:
    """Where a program keeps that it is logged in: variables that hold a key, and files below a folder."""

    variables: tuple[str, ...]
    files: tuple[str, ...]
    home: str  # a variable that moves the folder of the first file
    call: str


KNOWN = {
    "claude": LogIn(
        ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK",
         "CLAUDE_CODE_USE_VERTEX"),
        (".claude/.credentials.json",), "CLAUDE_CONFIG_DIR", "claude",
    ),
    "codex": LogIn(("OPENAI_API_KEY", "CODEX_API_KEY"), (".codex/auth.json",), "CODEX_HOME", "codex login"),
    "gemini": LogIn(
        ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"), (".gemini/oauth_creds.json",), "", "gemini"
    ),
    "opencode": LogIn(
        ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"), (".local/share/opencode/auth.json",), "",
        "opencode auth login",
    ),
}  # fmt: skip


def configured(patient: Patient) -> Iterator[Finding]:
    if patient.misconfigured is not None or patient.root is None:
        return
    if not patient.settings.agents:
        there = (patient.root / FILE_NAME).exists()
        yield warning(
            "No agent is configured; only the built-in scripted one can be started.",
            f"Give {FILE_NAME} a table [agents.code_developer] with the kind or command of your agent's program."
            if there
            else f"`crewyard init` writes a {FILE_NAME} with the agent that it finds.",
        )
    for name, agent in patient.settings.agents.items():
        try:
            kinds.of(name, agent.kind).preflight(name, agent, patient.root)
        except ConfigurationError as error:
            yield problem(error.message, error.hint)
            continue
        program = Path(agent.command[0]).name if agent.command else agent.kind
        if program in KNOWN:
            yield _log_in(name, agent, program)
        else:
            yield fine(f"{name}: {program} is there; whether it needs a log-in is not known here")


def others(patient: Patient) -> Iterator[Finding]:
    used = {Path(agent.command[0]).name for agent in patient.settings.agents.values() if agent.command}
    there = [name for name in KNOWN if name not in used and shutil.which(name)]
    missing = [name for name in KNOWN if name not in used and not shutil.which(name)]
    if there:
        yield fine(f"installed and not configured: {', '.join(there)}")
    if missing:
        yield fine(f"not installed, and not needed by this configuration: {', '.join(missing)}")


def _log_in(name: str, agent: Agent, program: str, environ: Mapping[str, str] = os.environ) -> Finding:
    how = KNOWN[program]
    seen = {*ALLOWED, *agent.environment}
    keys = [variable for variable in how.variables if environ.get(variable)]
    passed = [variable for variable in keys if variable in seen]
    files = [file for file in _files(how, environ, seen) if file.exists()]
    if passed or files:
        by = f"{passed[0]} is handed on" if passed else f"{files[0]} is there"
        return fine(f"{name}: {program} is logged in as far as can be seen ({by}); whether that is still good only "
                    "its provider knows")  # fmt: skip
    if keys:
        return problem(
            f"{name}: {keys[0]} is set here, but agents do not get it.",
            f'Add environment = ["{keys[0]}"] to [agents.{name}].',
        )
    return warning(
        f"{name}: no log-in of {program} can be seen; it may keep it where we cannot look (a key ring, say).",
        f"Call `{how.call}` and log in, or hand on {how.variables[0]} by environment in [agents.{name}].",
    )


def _files(how: LogIn, environ: Mapping[str, str], seen: set[str]) -> list[Path]:
    moved = environ.get(how.home) if how.home and how.home in seen else None
    if moved:
        return [Path(moved) / Path(file).name for file in how.files]
    return [Path(environ.get("HOME", "/")) / file for file in how.files]
