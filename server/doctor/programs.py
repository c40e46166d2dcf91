"""Agent programs: whether they are there, which version, what they may do, and what can be seen of their log-in.

Nobody is asked but the program for its version, and no file is read. Whether a key or a log-in is still good only its
provider knows: ``crewyard doctor --try`` finds out.
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from .. import environment, kinds, process, tasks
from ..errors import ConfigurationError
from ..kinds import Kind, Program, permissions
from ..kinds.command import is_there
from ..kinds.program import Signs, is_older, version_in
from ..sections import Agent
from ..settings import FILE_NAME
from .patient import Finding, Patient, fine, problem, warning

VERSION_SECONDS = 10.0
MAY = {
    "read": "look, and change nothing",
    "edit": "change files of its worktree, commit and run the checks",
    "run": "start any command",
}


def configured(patient: Patient) -> Iterator[Finding]:
    if patient.misconfigured is not None or patient.root is None:
        return
    if not patient.settings.agents:
        there = (patient.root / FILE_NAME).exists()
        yield warning(
            "No agent is configured; a task that names none cannot be started.",
            f"Give {FILE_NAME} a table [agents.code_developer] with the kind or command of your agent's program."
            if there
            else f"`crewyard init` writes a {FILE_NAME} with the agent that it finds.",
        )
    for name, agent in patient.settings.agents.items():
        try:
            kind = kinds.of(name, agent.kind)
            kind.preflight(name, agent, patient.root)
        except ConfigurationError as error:
            hinders = _is_needed(patient, name) or _is_there(agent, patient.root)
            yield (problem if hinders else warning)(error.message, error.hint)
            continue
        called = agent.command[0] if agent.command else agent.program
        program = kind.program or _known(called)
        if program is None:
            yield fine(f"{name}: {called or agent.kind} is there; whether it needs a log-in is not known here")
            continue
        yield _version(name, agent, kind, program, _as_called(called or program.name, patient.root))
        yield _log_in(name, agent, kind, program)


def _is_needed(patient: Patient, name: str) -> bool:
    """Whether work waits for agents of this type, or would be given to them."""
    if name == patient.settings.default_agent or len(patient.settings.agents) == 1:
        return True
    return patient.store is not None and name in patient.store.read(tasks.types_of_open)


def _is_there(agent: Agent, root: Path) -> bool:
    """Whether its program is: then something else is wrong."""
    kind = kinds.KINDS.get(agent.kind)
    called = agent.command[0] if agent.command else agent.program
    called = called or (kind.program.name if kind is not None and kind.program is not None else None)
    return called is None or is_there(called, root)


def others(patient: Patient) -> Iterator[Finding]:
    used = {Path(agent.command[0]).name if agent.command else agent.kind for agent in patient.settings.agents.values()}
    rest = {name: program for name, program in kinds.programs().items() if not {name, program.name} & used}
    there = [name for name, program in rest.items() if program.is_on_path]
    missing = [name for name in rest if name not in there]
    if there:
        yield fine(f"installed and not configured: {', '.join(there)}; `crewyard run PLAN --agent {there[0]}` uses it")
    if missing:
        yield fine(f"not installed, and not needed by this configuration: {', '.join(missing)}")


def _known(called: str | None) -> Program | None:
    """The program that a command begins with, where it has a kind of its own."""
    name = Path(called or "").name
    return next((each for each in kinds.programs().values() if each.name == name), None)


def _as_called(program: str, root: Path) -> str:
    """A path is one in the repository, a name is looked up on PATH."""
    return str(root / program) if "/" in program else program


def _version(name: str, agent: Agent, kind: Kind, program: Program, called: str) -> Finding:
    said = process.answer_of([called, "--version"], environment.for_child(()), VERSION_SECONDS)
    version = None if said is None else version_in(said)
    if version is None:
        what = "gave no answer" if said is None else "does not say its version"
        return warning(
            f"{name}: {program.name} is there, but `{called} --version` {what}.",
            f"Call it yourself; `crewyard doctor --try` runs {program.name} as an agent, for some cents.",
        )
    if kind.program is not None and is_older(version, program.tried):
        return warning(
            f"{name}: {program.name} {version} is older than {program.tried}, with which Crewyard was tried.",
            f"Update {program.name}; `crewyard doctor --try` shows whether this one does.",
        )
    may = "" if kind.program is None else f"; it may {_may(name, agent)}"
    return fine(f"{name}: {program.name} {version} is there{may}")


def _may(name: str, agent: Agent) -> str:
    more = f", and {', '.join(agent.allow)}" if agent.allow else ""
    given = f"; further arguments: {shlex.join(agent.arguments)}" if agent.arguments else ""
    return f"{MAY[permissions.of(name, agent)]}{more}{given}"


def signs(agent: Agent, kind: Kind, program: Program, environ: Mapping[str, str] = os.environ) -> Signs:
    """What can be seen of a log-in that an agent would have."""
    return program.signs(environ, {*environment.ALLOWED, *kind.variables, *agent.environment})


def _log_in(name: str, agent: Agent, kind: Kind, program: Program, environ: Mapping[str, str] = os.environ) -> Finding:
    seen = signs(agent, kind, program, environ)
    if seen.keys or seen.files:
        by = f"{seen.keys[0]} is handed on" if seen.keys else f"{seen.files[0]} is there"
        return fine(
            f"{name}: {program.name} is logged in as far as can be seen ({by}); whether that is still good only its "
            "provider knows"
        )
    if seen.kept_back:
        return problem(
            f"{name}: {seen.kept_back[0]} is set here, but agents do not get it.",
            f'Add environment = ["{seen.kept_back[0]}"] to [agents.{name}].',
        )
    return warning(
        f"{name}: no log-in of {program.name} can be seen; it may keep it where we cannot look (a key ring, say).",
        f"{program.log_in_cure} `crewyard doctor --try` shows if it works.",
    )
