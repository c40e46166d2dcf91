"""The command line. What a command needs is imported when it runs: ``crewyard status`` never imports ``mcp``."""

import dataclasses
import io
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from . import (
    cli_audit,
    cli_command,
    cli_daemon,
    cli_send,
    cli_summary,
    cli_watch,
    cli_workflow,
    cli_worktrees,
    next_calls,
)
from .cli_options import Json, Repo, address_of, guard, names_of, opened, refusals, refuse_agents, say
from .errors import CrewyardError

app = typer.Typer(
    name="crewyard",
    help="Run a crew of coding agents in parallel on one git repository.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
plan_app = typer.Typer(help="Import, show and export plans.", no_args_is_help=True)
app.add_typer(plan_app, name="plan")


def main() -> None:
    """Entry point: the one mapper from our errors to exit codes."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="crewyard: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no arrows is no reason to fail
    try:
        app()
    except CrewyardError as error:
        say(f"crewyard: {next_calls.for_terminal(error.message)}")
        if error.hint:
            say(f"  → {next_calls.for_terminal(error.hint)}")
        sys.exit(2)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Run a crew of coding agents in parallel on one git repository."""
    if version:
        typer.echo(f"crewyard {__version__}")
        raise typer.Exit


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="The plan: JSON, YAML, Markdown, Task Master or Beads.")],
    repo: Repo = Path(),
    max_parallel: Annotated[int | None, typer.Option(min=1, help="Agents at work at the same time.")] = None,
    agent: Annotated[str | None, typer.Option(help="Agent type (or kind) for every task.")] = None,
    as_json: Json = False,
) -> None:
    """Work a plan off: every task by an agent in a worktree of its own, merged when it is proven done.

    Ends with 0 when all is merged, 1 when some task failed or waits for review, 2 on bad input, 130 on interruption;
    the same command goes on where it was interrupted.
    """
    from . import headless, settings, terminal

    with refusals(as_json, headless.refusal):
        prepared = headless.prepare(repo, plan, settings.load, max_parallel=max_parallel, agent=agent)
    with headless.interruptible() as signals:
        with refusals(as_json, headless.refusal):
            begun = headless.begin(prepared)
        _announce(begun)
        with terminal.progress_of(begun) as view:
            headless.work_off(begun, view.look, signals)
    result = headless.summary(begun)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        terminal.print_outcome(result)
    for told in terminal.open_holds(begun):
        say(told)
    if begun.interrupted:
        what = {
            "ended": "The agents were ended and their work is kept",
            "another_runs": "Another run goes on with it",
            "open": "The end of some agents is not recorded yet, which whoever goes on makes good",
        }[begun.fate]
        how = "Stopped by `crewyard stop`" if begun.stopped else "Interrupted"
        say(f"{how}. {what}; the same command goes on from here.")
    raise typer.Exit(headless.exit_code(result))


@app.command()
def serve(
    repo: Repo = Path(),
    http: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Serve over HTTP with a bearer token.")] = None,
    agents: Annotated[str | None, typer.Option(hidden=True)] = None,
    as_daemon: Annotated[int | None, typer.Option(hidden=True, help="By `start`: where to say how it went.")] = None,
) -> None:
    """Serve MCP: over standard input and output, or over HTTP."""
    from . import compose
    from .repository import Repository

    root_of = Repository.discover(repo).root
    if http is None:
        if sys.stdin.isatty():
            say("Serving MCP on standard input and output, for a client that starts it. Ctrl-C ends it.")
            say("In Claude Code: claude mcp add crewyard -- crewyard serve")
        raise typer.Exit(compose.serve_stdio(root_of))
    refuse_agents(repo, "crewyard serve --http")
    host, port = address_of(http)
    if as_daemon is None:
        compose.end_process(compose.serve_http(root_of, host, port))
    compose.end_process(compose.serve_as_daemon(root_of, host, port, only=names_of(agents), started_by=as_daemon))


@app.command()
def init(
    repo: Repo = Path(),
    workflows: Annotated[
        bool, typer.Option("--workflows", help="With document 003's: genesis, development, content and their workers.")
    ] = False,
) -> None:
    """Write a commented crewyard.toml with the agent programs on PATH, and say what to do next.

    A crewyard.toml that is there is left as it is.
    """
    from . import starter
    from .repository import Repository

    typer.echo(starter.begin(Repository.discover(repo), workflows=workflows))


cli_daemon.register(app)
cli_worktrees.register(app)
cli_summary.register(app)
cli_watch.register(app)
cli_send.register(app)
cli_command.register(app)
cli_workflow.register(app)
cli_audit.register(app)


@plan_app.command("import")
def plan_import(
    path: Annotated[Path, typer.Argument(help="The plan's file.")], repo: Repo = Path(), as_json: Json = False
) -> None:
    """Bring a plan in without starting it."""
    from . import clock, headless, plans, settings
    from .paths import Paths
    from .repository import Repository
    from .store import Store

    repository = Repository.discover(repo)
    conf = settings.load(repository.root)
    paths = Paths(repository.root, conf)
    draft = headless.read_plan(path, conf, headless.known_tasks(paths))
    known = {*conf.agents, *conf.built_in, conf.default_agent}
    repository.exclude(paths.excludes())
    report = Store(paths.database).run(plans.import_plan, draft, now=clock.now(), actor="cli", agent_types=known)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report)))
        return
    for warning in report.warnings:
        say(f"warning: {warning}")
    typer.echo(
        f"{len(report.tasks_added)} tasks added, {len(report.tasks_updated)} updated, "
        f"{report.tasks_unchanged} unchanged, {report.dependencies_added} dependencies added."
    )


@plan_app.command("show")
def plan_show(
    repo: Repo = Path(),
    as_json: Json = False,
    mermaid: Annotated[bool, typer.Option(help="Print the graph in Mermaid's form.")] = False,
) -> None:
    """Show the plan: tasks, states, what waits for what."""
    from . import graph, views

    with opened(repo) as (_, store):
        seen = store.read(graph.snapshot)
    if mermaid:
        typer.echo(graph.to_mermaid(seen))
    elif as_json:
        typer.echo(json.dumps(dataclasses.asdict(seen)))
    else:
        views.print_graph(seen)


@plan_app.command("export")
def plan_export(repo: Repo = Path()) -> None:
    """Print the plan as JSON that `plan import` takes."""
    from . import plans

    with opened(repo) as (_, store):
        typer.echo(json.dumps(store.read(plans.export_plan), indent=2))


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where to make the repository; a temporary one by default.")
    ] = None,
) -> None:
    """Watch a crew work a small plan off, in a throw-away repository: no key, no network."""
    from . import demo as demonstration

    raise typer.Exit(demonstration.show(folder))


# An agent may look, at the plan and how it goes, but not at another's log. `serve` makes it a server of its own, and
# `workflow` asks who it is: administrators may give the emergency commands.
guard(app, {"status", "top", "why", "doctor", "worktrees", "plan show", "plan export", "serve", "demo", "workflow"})


def _announce(begun: Any) -> None:
    if begun.let_in:
        say(f"Agents that `crewyard start --agents` had left out are started for this plan: {', '.join(begun.let_in)}.")
    if begun.branch_made:
        say(f"Made branch {begun.crew.target} from HEAD; finished work is merged into it.")
    for warning in begun.report.warnings:
        say(f"warning: {warning}")
    if not begun.crew.settings.merge.auto_approve and begun.dispatch_id is not None:
        say("merge.auto_approve is off: what is done waits for `crewyard worktrees approve TASK`, or for the tool")
        say("  worktrees(action='merge', task_id=…, approve=true); `crewyard worktrees` lists what waits.")
    if begun.joined:
        say(f"Going on with dispatch {begun.dispatch_id}, which works the same tasks off.")
    if begun.reopened:
        say(f"Trying again what failed before: {', '.join(begun.reopened)}.")
    if begun.dispatch_id is None:
        say("Every task of this plan is done already.")


if __name__ == "__main__":
    main()
