"""``crewyard init``: a ``crewyard.toml`` with every setting in it as a comment, and an agent that is found on PATH."""

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

from . import sections, settings
from .errors import InvalidInput

# Each runs without questions, may edit files in its worktree and, where it needs to be told so, call Crewyard. What it
# may do beyond that is the person's choice.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "claude": (
        *("claude", "-p", "{prompt}", "--permission-mode", "acceptEdits"),
        *("--mcp-config", "{mcp_config}", "--allowedTools", "mcp__crewyard"),
    ),
    "codex": ("codex", "exec", "--sandbox", "workspace-write", "{prompt}"),
    "gemini": ("gemini", "-p", "{prompt}", "--approval-mode", "auto_edit"),
    "opencode": ("opencode", "run", "{prompt}"),
}
TYPE = "code_developer"
WIDTH = 100
HEAD = """\
# Crewyard's settings for this repository. Every line that begins with `#` is a setting at its default, or a remark:
# what is commented out holds already. docs/configuration.md of Crewyard says more.
"""


def write(root: Path) -> str:
    """Write ``crewyard.toml`` at ``root``; returns what to do next.

    Raises InvalidInput where there is one already, ConfigurationError where an environment variable is wrong.
    """
    path = root / settings.FILE_NAME
    found = next((name for name in PROGRAMS if shutil.which(name)), None)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text(found))
    except FileExistsError:
        raise InvalidInput(
            f"{path} is there already; nothing was changed.", hint="Edit it, or move it away and start again."
        ) from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.", hint="Make the folder writable.") from error
    return _next_steps(path, found)


def text(program: str | None) -> str:
    """The file's text, with ``program`` as the agent, or with a commented example where there is none."""
    parts = [HEAD]
    for name, model in settings.sections().items():
        parts.append(_table(f"[{name}]", model))
        if name == "crew":
            parts.append(_agents(program))
    return "\n".join(parts)


def _agents(program: str | None) -> str:
    words = PROGRAMS[program or "claude"]
    lines = ["# ---- Agents: one table for each type; a plan's task may name one. {prompt} is what the agent is told."]
    if program is None:
        lines.append("# None of " + ", ".join(PROGRAMS) + " is on PATH: give here the program that does the work.")
    mark = "" if program else "# "
    lines += [f"{mark}[agents.{TYPE}]", f'{mark}kind = "command"', f"{mark}command = {_toml(list(words))}"]
    lines += _keys(sections.Agent, but=("kind", "command"))
    return "\n".join(lines) + "\n"


def _table(header: str, model: type[sections.Section]) -> str:
    return "\n".join([f"# ---- {(model.__doc__ or '').strip()}", header, *_keys(model)]) + "\n"


def _keys(model: type[sections.Section], but: tuple[str, ...] = ()) -> list[str]:
    lines: list[str] = []
    for name, field in model.model_fields.items():
        if name not in but:
            remark = textwrap.wrap(field.description or "", WIDTH, initial_indent="# ", subsequent_indent="# ")
            lines += ["", *remark, f"# {name} = {_toml(field.get_default(call_default_factory=True))}"]
    return lines


def _toml(value: Any) -> str:
    """A value as TOML writes it; JSON's form is TOML's for all that settings hold."""
    return "   # unset" if value is None else json.dumps(value, ensure_ascii=False)


def _next_steps(path: Path, program: str | None) -> str:
    agent = (
        f"Agents will be {program} ([agents.{TYPE}] in it); look at what it may do before the first run."
        if program
        else f"No agent program was found on PATH ({', '.join(PROGRAMS)}): fill in [agents.{TYPE}] first."
    )
    return (
        f"Wrote {path}.\n{agent}\n\n"
        "Work a plan off:                crewyard run PLAN.md\n"
        "Lead the crew from Claude Code: claude mcp add crewyard -- crewyard serve"
    )
