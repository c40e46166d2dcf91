"""``crewyard init``: a ``crewyard.toml`` with every setting in it as a comment, and the agent programs on PATH."""

import json
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import kinds, sections, settings, usual_checks, workflow_starter
from .errors import InvalidInput
from .kinds import Program
from .paths import Paths
from .repository import Repository
from .settings import Settings
from .usual_checks import Usual
from .workflow_sections import Workflows

TYPE = "code_developer"
EXAMPLE = "claude"
SIMULATED = "scripted"
WIDTH = 100
HEAD = """\
# Crewyard's settings for this repository. Every line that begins with `#` is a setting at its default, or a remark:
# what is commented out holds already. docs/configuration.md of Crewyard says more."""


def begin(repository: Repository, *, workflows: bool = False) -> str:
    """Write ``crewyard.toml`` and keep our files out of git; returns what to do next. May be done again.

    Raises InvalidInput where the file cannot be written, ConfigurationError where it is there and wrong, or an
    environment variable is.
    """
    found = {name: program for name, program in kinds.programs().items() if program.is_on_path}
    path = repository.root / settings.FILE_NAME
    content = text(list(found), usual_checks.of(repository.root))
    agent = TYPE if found else ""
    is_new = _write(path, f"{content}\n{_workflows(agent)}\n" if workflows else content)
    configured = settings.load(repository.root)
    repository.exclude(Paths(repository.root, configured).excludes())
    left = [f"{path} is there already and was left as it is.", *_missing(configured, found)]
    if workflows and configured.workflows is None:
        left += ["It has no workflows; for those of document 003 put this at its end:", ""]
        left += [_workflows(configured.default_agent if configured.agents else agent)]
    return "\n".join(
        [
            *([f"Wrote {path}.", *_of_agents(found)] if is_new else left),
            "",
            *_next_steps(found, bool(configured.agents)),
        ]
    )


def _workflows(agent: str) -> str:
    """The table, with the common settings as comments; without an ``agent`` the simulated one works there."""
    keys = _keys("workflows", Workflows, but=("stages",))
    stages = workflow_starter.tables(agent or SIMULATED, is_simulated=not agent)
    return "\n".join([workflow_starter.HEAD, "[workflows]", *keys, "", stages])


def _write(path: Path, content: str) -> bool:
    """Whether the file was not there; one that is, is left as it is."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        if not path.exists():
            raise InvalidInput(f"{path} is a link that leads nowhere.", hint="Remove it.") from None
        return False
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.", hint="Make the folder writable.") from error
    return True


def _missing(configured: Settings, found: Mapping[str, Program]) -> list[str]:
    """What a file that is there lacks for work to begin, to be put into it by hand."""
    if configured.agents or not found:
        return []
    tables = [f'[agents.{TYPE if name == next(iter(found)) else name}]\nkind = "{name}"' for name in found]
    return ["It names no agents yet; to let those that are on PATH do the work, put this at its end:", "", *tables]


def text(found: Sequence[str], usual: Usual | None) -> str:
    """The file's text, with an agent for each kind in ``found``, or with a commented example where there is none."""
    parts = [HEAD]
    for name, model in settings.sections().items():
        parts.append("\n".join([f"# ---- {(model.__doc__ or '').strip()}", f"[{name}]", *_keys(name, model, usual)]))
        if name == "crew":
            parts.append("\n".join(_agents(found)))
    return "\n\n".join(parts) + "\n"


def _agents(found: Sequence[str]) -> list[str]:
    first, *others = found or [EXAMPLE]
    mark = "" if found else "# "
    lines = [
        "# ---- Agents: one table for each type; a plan's task may name one, and `crewyard run --agent TYPE` does."
    ]
    if not found:
        lines.append(f"# None of {', '.join(kinds.programs())} is on PATH: give here the program that does the work.")
    lines += [f"{mark}[agents.{TYPE}]", f'{mark}kind = "{first}"', *_keys("agents", sections.Agent, but=("kind",))]
    for kind in others:
        lines += ["", f"[agents.{kind}]", f'kind = "{kind}"']
    return lines


def _keys(
    section: str, model: type[sections.Section], usual: Usual | None = None, but: tuple[str, ...] = ()
) -> list[str]:
    proposed = {} if usual is None else {("merge", "check"): usual.check, ("worktree", "setup"): usual.setup}
    lines: list[str] = []
    for name, field in model.model_fields.items():
        if name in but:
            continue
        lines += ["", *_remark(field.description or "")]
        if usual is not None and (words := proposed.get((section, name))):
            lines += [
                *_remark(f"Found here: {usual.sign}. What suits it, most likely:"),
                f"#     {name} = {_toml(words)}",
            ]
        lines.append(f"# {name} = {_toml(field.get_default(call_default_factory=True))}")
    return lines


def _remark(words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    """A value as TOML writes it; JSON's form is TOML's for all that settings hold."""
    return "   # unset" if value is None else json.dumps(value, ensure_ascii=False)


def _of_agents(found: Mapping[str, Program]) -> list[str]:
    if not found:
        names = ", ".join(kinds.programs())
        return [
            f"No agent program was found on PATH ({names}): fill in [agents.{TYPE}] first.",
            "`crewyard demo` shows a crew at work without one.",
        ]
    first, *others = found
    also = f", and {', '.join(f'{each} ([agents.{each}])' for each in others)}" if others else ""
    return [f"Agents will be {first} ([agents.{TYPE}] in it){also}; look at what they may do before the first run."]


def _next_steps(found: Mapping[str, Program], has_agents: bool) -> list[str]:
    """As lines to type that work. The program is named by its path where a client would not find it."""
    server = ["crewyard" if shutil.which("crewyard") else str(Path(sys.argv[0]).absolute()), "serve"]
    crewyard = shlex.quote(server[0])
    steps = [("See whether all is ready:", f"{crewyard} doctor")]
    if has_agents:
        steps.append(("Try the agents, for some cents:", f"{crewyard} doctor --try"))
        steps.append(("Work a plan off:", f"{crewyard} run PLAN.md"))
    else:
        steps.append(("Work a plan off with simulated agents:", f"{crewyard} run PLAN.md --agent scripted"))
    for name, program in found.items():
        where = ", in every folder" if program.adds_everywhere else ""
        steps.append((f"Lead the crew from {name}{where}:", program.client_line(server)))
    width = max(len(what) for what, _ in steps)
    return [f"{what:<{width}}  {line}" for what, line in steps]
