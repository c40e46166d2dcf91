"""``crewyard workflow``: the slash commands of the workflows at a terminal and in scripts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import next_calls
from .cli_options import Json, Repo, refusal, refusals, refuse_agents, say

if TYPE_CHECKING:
    from .workflow_calls import Done, Outcome

PARTLY, REFUSED = 1, 2


def workflow(
    line: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="As '/assign development P-7 dev-02'; without one, all are listed."),
    ] = None,
    repo: Repo = Path(),
    as_json: Json = False,
) -> None:
    """Give one of the workflows' slash commands, as `crewyard workflow "/assign development P-7 dev-02"`.

    Ends with 0 when it was done, 1 when a part of it was refused, 2 when all of it was, or on bad input.
    """
    from . import workflow_commands

    given = " ".join(line or ())
    if not workflow_commands.is_emergency(given):
        with refusals(as_json, refusal):
            refuse_agents(repo, "crewyard workflow")
    if not given:
        _list(repo, as_json=as_json)
        return
    from . import compose, workflow_calls

    with refusals(as_json, refusal):
        outcome = workflow_calls.carry_out(repo, given, compose.build_workflow_app)
    if as_json:
        typer.echo(json.dumps(_as_object(outcome)))
    else:
        _print(outcome)
    if not outcome.is_whole:
        raise typer.Exit(REFUSED if outcome.is_refused else PARTLY)


def _list(repo: Path, *, as_json: bool) -> None:
    from . import settings, workflow_commands
    from .repository import Repository

    configured = settings.load(Repository.discover(repo).root).workflows
    stages = ["genesis", "development", "content"] if configured is None else list(configured.stages)
    found = workflow_commands.commands(stages)
    if as_json:
        typer.echo(json.dumps({each.name: {"usage": each.usage, "purpose": each.purpose} for each in found}))
        return
    for each in found:
        typer.echo(f"{each.usage}\n    {each.purpose}")


def _as_object(outcome: "Outcome") -> dict[str, Any]:
    if outcome.is_refused and len(outcome.done) == 1:
        error = outcome.done[0].answer
        return {"status": "refused", "error": {name: error.get(name, "") for name in ("code", "message", "hint")}}
    told = {
        "command": outcome.command.name,
        "status": "success" if outcome.is_whole else "refused" if outcome.is_refused else "partial",
        "answers": [{"call": each.call, "is_refused": each.is_refused, "answer": each.answer} for each in outcome.done],
    }
    return told if outcome.incident_id is None else told | {"incident_id": outcome.incident_id}


def _print(outcome: "Outcome") -> None:
    for number, each in enumerate(outcome.done, 1):
        if len(outcome.done) > 1:
            typer.echo(f"{'' if number == 1 else chr(10)}{number}. {each.call}")
        _print_answer(each)
    if outcome.incident_id is not None:
        say(f"Kept as incident {outcome.incident_id}.")
    if not outcome.command.only_looks and not outcome.is_supervised:
        say("No server of this repository is up: what waits begins with `crewyard start`.")


def _print_answer(done: "Done") -> None:
    from . import workflow_view

    if not done.is_refused:
        lines = list(workflow_view.lines_of(done.answer))
        typer.echo(next_calls.for_terminal("\n".join(lines or ["Done."])))
        return
    say(f"crewyard: {next_calls.for_terminal(str(done.answer.get('message', '')))}")
    if hint := done.answer.get("hint"):
        say(f"  → {next_calls.for_terminal(str(hint))}")


def register(app: typer.Typer) -> None:
    app.command()(workflow)
