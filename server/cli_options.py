"""What the commands of the command line share: options, and how they open the repository's database."""

import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from .errors import CrewyardError, InvalidInput, NotAuthorized

if TYPE_CHECKING:
    from .paths import Paths
    from .store import Store

Repo = Annotated[Path, typer.Option("--repo", help="The git repository to work on.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
HttpAddress = Annotated[
    str, typer.Option("--http", metavar="HOST:PORT", help="Where to serve; port 0 is any free one.")
]


@contextmanager
def opened(repo: Path) -> "Iterator[tuple[Paths, Store]]":
    """The repository's database. An InvalidInput says what to do where there is none yet."""
    from . import settings
    from .paths import Paths
    from .repository import Repository
    from .store import Store

    repository = Repository.discover(repo)
    paths = Paths(repository.root, settings.load(repository.root))
    if not paths.database.exists():
        raise InvalidInput(
            f"Crewyard has no database in {repository.root} yet.", hint="Start one with `crewyard run PLAN`."
        )
    store = Store(paths.database)
    try:
        yield paths, store
    finally:
        store.close()


class LeadsCommand(TyperCommand):
    """A command with which only a person speaks, or the lead."""

    def invoke(self, ctx: Any) -> Any:
        with refusals(bool(ctx.params.get("as_json")), refusal):
            called = ctx.command_path.removeprefix(ctx.find_root().command_path)
            refuse_agents(ctx.params.get("repo", Path()), f"crewyard{called}")
        return super().invoke(ctx)


def guard(app: typer.Typer, harmless: Collection[str], prefix: str = "") -> None:
    """Refuse to agents every command of ``app`` but those that are ``harmless``, named as they are called."""
    for command in app.registered_commands:
        name = str(command.name or getattr(command.callback, "__name__", ""))
        if prefix + name not in harmless:
            command.cls = LeadsCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            guard(group.typer_instance, harmless, f"{prefix}{group.name} ")


def refuse_agents(repo: Path, command: str) -> None:
    """Raises NotAuthorized, and records it, where an agent of this repository's crew calls from its shell."""
    from . import environment

    if not os.environ.get(environment.AGENT_TOKEN):
        return
    from . import agents, clock, identity
    from .repository import Repository

    token = environment.agent_token(Repository.discover(repo).root)
    if token is None:
        return
    with suppress(InvalidInput), opened(repo) as (_, store):  # without a yard there is nothing to record it in
        row = store.read(agents.given, token)
        name = identity.UNKNOWN if row is None else row["agent_id"]
        store.run(identity.refused, name, command, 1, now=clock.now())
    raise NotAuthorized(
        f"An agent of the crew cannot call `{command}`: that is the lead's word.",
        hint="report(action='question') asks the lead; agents in merge.authorized_roles have the tool `worktrees`. "
        f"You are no agent? Unset {environment.AGENT_TOKEN} in this shell.",
    )


@contextmanager
def refusals(as_json: bool, told: Callable[[CrewyardError], dict[str, Any]]) -> Iterator[None]:
    """What is refused in here has changed nothing; with ``--json`` it is told on standard output as well."""
    try:
        yield
    except CrewyardError as error:
        if as_json:
            typer.echo(json.dumps(told(error)))
        raise


def refusal(error: CrewyardError) -> dict[str, Any]:
    """The object that ``--json`` prints where a command was refused."""
    return {"status": "refused", "error": {"code": error.code, "message": error.message, "hint": error.hint}}


def address_of(text: str) -> tuple[str, int]:
    """Host and port. Raises typer.BadParameter."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT", param_hint="--http")
    return host.strip("[]"), int(port)


def names_of(text: str | None) -> list[str] | None:
    """A list with commas. Raises typer.BadParameter for one without a name."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise typer.BadParameter("no agent type is named", param_hint="--agents")
    return list(dict.fromkeys(names))


def say(text: str) -> None:
    typer.echo(text, err=True)
