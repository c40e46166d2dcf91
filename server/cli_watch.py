"""The commands that only look: ``top``, ``logs``, ``why``, ``doctor`` (R-300, R-305, R-306)."""

import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import next_calls
from .cli_options import Json, Repo, refusal, refusals, refuse_agents, say
from .completion import agents_and_tasks, subjects
from .errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from .doctor import Examination, Finding


def top(repo: Repo = Path()) -> None:
    """Watch agents, tasks, merges, messages and the machine on one screen; q or Ctrl-C quits."""
    from . import top as screen

    raise typer.Exit(screen.show(repo))


def logs(
    name: Annotated[
        str,
        typer.Argument(
            metavar="AGENT|TASK",
            help="An agent's id, or a task's: its last agent, with -f all that follow.",
            autocompletion=agents_and_tasks,
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as it is written; of a task until the task has ended.")
    ] = False,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="Only the last so many lines.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Byte for byte, as the program printed it.")] = False,
    repo: Repo = Path(),
) -> None:
    """Print what an agent wrote, as a person reads it."""
    from . import log_follow
    from .status import looking

    with looking(repo) as look:
        try:
            if follow:
                log_follow.follow(look.store, name, lines, _write, say, raw=raw)
            elif not log_follow.print_once(look.store, name, lines, _write, raw=raw) and lines != 0:
                say(f"Nothing has been written under {name} yet; -f waits for it.")
        except KeyboardInterrupt:
            raise typer.Exit(0) from None
        except BrokenPipeError:  # whoever read it has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


def why(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A task, agent, message, dispatch or merge (merge-1).", autocompletion=subjects
        ),
    ],
    repo: Repo = Path(),
    as_json: Json = False,
) -> None:
    """Say why something does not run, merge or arrive, and what to call next.

    Ends with 1 where nothing has that id.
    """
    from . import clock, plans, settings
    from . import why as domain
    from .status import looking

    with refusals(as_json, refusal), looking(repo) as look:
        try:
            conf = settings.load(look.located.root)
        except InvalidInput as error:
            say(f"crewyard: {error.message.rstrip('.')}. What is told is by the default settings.")
            conf = settings.Settings()
        uptime, gone = look.clock(), look.gone()
        limits = conf.instance_limits
        bounds = domain.Bounds(conf.default_agent, limits, conf.merge.auto_approve, uptime, gone, conf.stages)
        try:
            told = look.store.read(domain.explain, subject, now=clock.now(), bounds=bounds)
        except NotFound as error:
            if as_json:
                typer.echo(json.dumps(refusal(error)))
            say(f"crewyard: {error.message}\n  → {next_calls.for_terminal(error.hint)}")
            raise typer.Exit(1) from None
        plan = _plan_file(look.store.read(plans.last_imported))
    if as_json:
        line = next_calls.command_line(told.next_call)
        typer.echo(json.dumps({**dataclasses.asdict(told), "command_line": line}))
    else:
        for text in (told.because, f"  → {told.next_call}"):
            said = next_calls.for_terminal(text).replace("crewyard run PLAN", f"crewyard run {plan}")
            typer.echo(clock.in_local_times(said))


def _plan_file(name: str | None) -> str:
    """The plan that was imported last, where its name still leads to it from here."""
    return shlex.quote(name) if name and Path(name).is_file() else "PLAN"


def doctor(
    repo: Repo = Path(),
    as_json: Json = False,
    tries: Annotated[
        bool,
        typer.Option(
            "--try", help="Also run each configured agent for one word, as a task would; it costs some cents."
        ),
    ] = False,
) -> None:
    """Look whether everything is fit for work, and say how to cure what is not.

    Nothing is changed, but that --try makes the folder data/ where there is none, for what it runs.

    Ends with 0 where no problem was found (warnings may be left), 1 where something must be cured.
    """
    from . import doctor as surgery

    if tries:
        refuse_agents(repo, "crewyard doctor --try")
    found = surgery.examine(repo, tries=tries, begins=_announce_tries, told=_ignore if as_json else _print_finding)
    if as_json:
        typer.echo(json.dumps(found.as_dict()))
    else:
        _print_sum(found)
    raise typer.Exit(1 if found.problems else 0)


def register(app: typer.Typer) -> None:
    """Make them commands of ``app``."""
    for command in (top, logs, why, doctor):
        app.command()(command)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _announce_tries(check: str) -> None:
    from .doctor import TRIED

    if check == TRIED:
        say("Each configured agent is run for one word, which takes at most a minute each ...")


def _ignore(_: "Finding") -> None:
    """The whole is printed at the end."""


def _print_finding(found: "Finding") -> None:
    colours = {"ok": None, "warning": typer.colors.YELLOW, "problem": typer.colors.RED}
    typer.secho(f"{found.state:<8} {found.check}: {found.what}", fg=colours[found.state])
    if found.cure:
        typer.echo(f"         → {next_calls.for_terminal(found.cure)}")
    sys.stdout.flush()


def _print_sum(found: "Examination") -> None:
    from .doctor.patient import many

    told = f"{many(found.problems, 'problem')}, {many(found.warnings, 'warning')}"
    typer.echo(f"{len(found.findings)} checks: {told}.")
