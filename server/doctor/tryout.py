"""``crewyard doctor --try``: each configured agent program, run once for one word as a task would run it.

It runs in a worktree of the commit that is checked out, with the arguments, permissions, environment and MCP server of
a real launch; only the token of that server is nobody's. Nothing of it is left.
"""

import os
import secrets
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import clock, credentials, endings, kinds, merging, outputs, process, prompts
from ..errors import ConfigurationError, SpawnFailed
from ..kinds import Heard, Kind, Launch
from ..paths import Paths
from ..repository import Repository
from ..runners import Finished, Runners
from ..sections import Agent
from ..spending import Spending
from ..wording import lasted, stopped
from . import programs
from .patient import Finding, Patient, fine, problem, warning

SECONDS = 60.0
SHOWN = 200
PROMPT = "Answer with the one word: ready. Change no file, run no command, use no tool.\n"


@dataclass(frozen=True)
class Place:
    """Where the programs run, and what starts them."""

    repository: Repository
    paths: Paths
    runners: Runners
    worktree: Path


def tried(patient: Patient) -> Iterator[Finding]:
    """Starts programs that may cost money: only for who asks for it."""
    repository, paths = patient.repository, patient.paths
    if repository is None or paths is None or not patient.settings.agents:
        return
    repository.exclude(paths.excludes())
    for folder in (paths.own, paths.checks):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(repository, paths)
    place = paths.checks / f"try-{os.getpid()}"
    runners = Runners(paths.runs)
    try:
        with merging.checked_out(repository, place, repository.head(repository.root)) as worktree:
            for name, agent in patient.settings.agents.items():
                yield _try(Place(repository, paths, runners, worktree), name, agent)
    finally:
        runners.close()
        shutil.rmtree(_runs(place), ignore_errors=True)


def _try(place: Place, name: str, agent: Agent) -> Finding:
    try:
        kind = kinds.of(name, agent.kind)
        kind.preflight(name, agent, place.paths.root)
        done, heard = _run(place, name, agent, kind)
    except ConfigurationError as error:
        return problem(error.message, error.hint)
    except OSError as error:
        return problem(f"{name}: its folder cannot be made: {error}", "Mend that, and try again.")
    except SpawnFailed as error:
        return problem(f"{name}: {error.message}", error.hint or "Install it, or give its path in crewyard.toml.")
    return _judged(name, agent, kind, done, heard)


def _run(place: Place, name: str, agent: Agent, kind: Kind) -> tuple[Finished, Heard]:
    run, token = _runs(place.worktree) / name, secrets.token_urlsafe(32)
    run.mkdir(mode=0o700, parents=True)
    check = place.paths.settings.merge.check
    launch = Launch(
        agent_id=f"{name}-try",
        agent_type=name,
        task_id="try",
        attempt=1,
        prompt=PROMPT,
        prompt_file=run / "prompt.md",
        worktree=place.worktree,
        mcp_config=run / credentials.MCP_CONFIG,
        program_config=run / credentials.PROGRAM_CONFIG,
        session_id=str(uuid.uuid4()),
        resumes=False,
        checks=[prompts.as_typed(check)] if check else [],
        server=credentials.own_server(place.paths, token),
    )
    start = kind.start(agent, launch)
    credentials.lay_down_start(run, launch, start)
    done = place.runners.check(
        start.argv,
        cwd=place.worktree,
        log=run / outputs.FILE_NAME,
        timeout_seconds=SECONDS,
        environment=credentials.variables(
            agent, kind, launch, start, identity=place.repository.identity(), root=place.paths.root, token=token
        ),
        stdin=launch.prompt_file if start.reads_prompt else None,
    )
    return done, kind.heard(outputs.ends(run), agent.quota_pattern, now=clock.now())


def _judged(name: str, agent: Agent, kind: Kind, done: Finished, heard: Heard) -> Finding:
    words = endings.last_words(heard.error or heard.text, SHOWN)
    said = f" Its last words: {stopped(words)}" if words else ""
    program = "its program" if kind.program is None else kind.program.name
    if done.code == 0 and heard.error is None:
        return fine(f"{name}: it works, and answered in {lasted(done.seconds)}{_cost(heard.spending)}")
    if heard.login is not None:
        log_in = "Log it in." if kind.program is None else f"Call `{kind.program.log_in}` and log in."
        return problem(f"{name}: it is not logged in: {stopped(heard.login)}", log_in)
    if heard.limit is not None:
        until = "" if heard.limit.until is None else f", at {clock.local_time(heard.limit.until)}"
        return warning(
            f"{name}: its provider's limit is reached: {stopped(heard.limit.said)}",
            f"Agents of this type wait for its end by themselves{until}.",
        )
    if done.code is None:
        return problem(
            f"{name}: it did not answer within {SECONDS:g} s.{said}",
            f"{_suspected(agent, kind)} Otherwise start {program} yourself in the repository: it may ask something, "
            "such as whether it trusts the folder.",
        )
    return problem(
        f"{name}: it failed with exit code {done.code}.{said}",
        f"Update {program} where it does not know an argument; what [agents.{name}] adds may be wrong as well.",
    )


def _suspected(agent: Agent, kind: Kind) -> str:
    """What most often keeps a program from answering, by what can be seen from here."""
    network = "Look whether its provider can be reached from here (network, proxy)."
    if kind.program is None:
        return network
    seen = programs.signs(agent, kind, kind.program)
    if seen.keys or seen.files:
        return network
    return f"No log-in of {kind.program.name} can be seen: {kind.program.log_in_cure} {network}"


def _cost(spent: Spending | None) -> str:
    if spent is None:
        return "; what that cost it does not say"
    used = [] if spent.cost_usd is None else [f"{spent.cost_usd:.4f} USD"]
    if spent.input_tokens is not None and spent.output_tokens is not None:
        used.append(f"{spent.input_tokens:,} tokens in and {spent.output_tokens:,} out")
    return f"; that cost {', '.join(used)}" if used else ""


def _runs(worktree: Path) -> Path:
    """The run folders of those that are tried in there."""
    return worktree.with_suffix(".runs")


def _clear(repository: Repository, paths: Paths) -> None:
    """Remove what a killed doctor has left."""
    for place in paths.checks.glob("try-*"):
        pid = place.stem.removeprefix("try-")
        if pid.isdigit() and process.start_time(int(pid)) is None:
            merging.discard(repository, place)
