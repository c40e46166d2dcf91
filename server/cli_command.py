"""``crewyard command``: the fifteen commands of the documents by their names."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_options import Json, Repo

FAILED = 1


def _names(incomplete: str) -> list[str]:
    from . import commands

    return [name for name in commands.NAMES if name.startswith(incomplete)]


def command(
    name: Annotated[
        str | None, typer.Argument(help="Its name; without one, all of them are listed.", autocompletion=_names)
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Its parameters; --describe lists them.")
    ] = None,
    describe: Annotated[bool, typer.Option("--describe", help="Show what it takes, and do nothing.")] = False,
    repo: Repo = Path(),
    as_json: Json = False,
) -> None:
    """Do one of the fifteen commands, as `crewyard command find-available-work MAX_PARALLEL=4`.

    Its answer is printed as JSON. Ends with 0 on success, 1 where the command is refused or fails.
    """
    if name is None:
        _list(as_json=as_json)
        return
    if describe:
        _describe(name)
        return
    from .invoker import ClaudeAgentInvoker

    answer = ClaudeAgentInvoker(repo=repo).invoke_command(name, dict(_pair(each) for each in parameters or ()))
    typer.echo(json.dumps(answer, indent=None if as_json or not sys.stdout.isatty() else 2, ensure_ascii=False))
    if not answer["success"]:
        raise typer.Exit(FAILED)


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found or not key:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="KEY=VALUE")
    return key, value


def _list(*, as_json: bool) -> None:
    from . import commands

    purposes = {
        category: {name: commands.get(name).purpose for name in names}
        for category, names in commands.CATEGORIES.items()
    }
    if as_json:
        typer.echo(json.dumps(purposes))
        return
    for category, found in purposes.items():
        typer.echo(category)
        for name, purpose in found.items():
            typer.echo(f"  {name:26} {purpose}")


def _describe(name: str) -> None:
    from . import commands

    found = commands.get(name)
    typer.echo(f"{found.name}: {found.purpose}\n")
    for each in commands.parameters_of(found):
        default = "needed" if each.is_needed else f"default {each.default}"
        typer.echo(f"  {each.key} ({each.kind}, {default})\n      {each.meaning}")
    typer.echo(f"\nErrors: {', '.join(dict.fromkeys(error.code for error in found.errors)) or 'none of its own'}")
    typer.echo(f"Related: {', '.join(found.related)}")


def register(app: typer.Typer) -> None:
    app.command()(command)
