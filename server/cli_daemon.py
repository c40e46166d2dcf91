"""The commands around the daemon: ``start``, ``stop``, ``status`` (contract 2; R-298 to R-304)."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_options import HttpAddress, Json, Repo, address_of, names_of, refusal, refusals, say

if TYPE_CHECKING:
    from .daemon_start import Started
    from .daemon_stop import Stopped


def start(
    repo: Repo = Path(),
    http: HttpAddress = "127.0.0.1:0",
    agents: Annotated[
        str | None, typer.Option(metavar="A,B", help="Launch agents of these types only; by default of every type.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the daemon: MCP over HTTP and the supervisor, in the background. It may be running already."""
    from . import daemon_start

    host, port = address_of(http)
    only = names_of(agents)
    with refusals(as_json, refusal):
        started = daemon_start.start(
            repo, host, port, only, lambda: say("Waiting for another `start` or `stop` to end …")
        )
    if as_json:
        typer.echo(json.dumps(_started(started)))
    else:
        _tell_start(started)
    if port and not started.is_new and f":{port}/" not in started.daemon.url:
        say(f"It runs already and serves {started.daemon.url}, not {http}; `crewyard stop` ends it first.")


def stop(
    repo: Repo = Path(),
    force: Annotated[bool, typer.Option("--force", help="Give the agents no time to end by themselves.")] = False,
    as_json: Json = False,
) -> None:
    """End every agent, with its work kept, and the daemon. Nothing is launched until somebody wants work again.

    Ends with 0 when nothing is left, 1 when something could not be ended.
    """
    from . import daemon_stop

    with refusals(as_json, refusal):
        stopped = daemon_stop.stop(repo, force=force, told=say)
    if as_json:
        typer.echo(json.dumps({"status": stopped.status, **dataclasses.asdict(stopped)}))
    else:
        _tell_stop(stopped)
    raise typer.Exit(1 if stopped.status == "incomplete" else 0)


def status(
    repo: Repo = Path(),
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, until Ctrl-C.")] = False,
) -> None:
    """Show tasks, agents with their CPU and memory, merges, the daemon and who supervises."""
    from . import status_command

    try:
        status_command.show(repo, as_json=as_json, watch=watch)
    except KeyboardInterrupt:
        raise typer.Exit(0 if watch else 130) from None


def register(app: typer.Typer) -> None:
    """Make them commands of ``app``."""
    for command in (start, stop, status):
        app.command()(command)


# --------------------------------------------------------------------------------------------------- start


def _started(started: "Started") -> dict[str, object]:
    seen = started.seen
    return {
        "status": "started" if started.is_new else "already_running",
        **dataclasses.asdict(started.daemon),
        "log": str(started.log),
        "agents": started.only,
        "tasks": seen.tasks,
        "dispatches": [dataclasses.asdict(row) for row in seen.dispatches],
        "holds": [dataclasses.asdict(row) for row in seen.holds],
    }


def _tell_start(started: "Started") -> None:
    daemon = started.daemon
    typer.echo(f"The daemon {'runs' if started.is_new else 'runs already'}: process {daemon.pid}, {daemon.url}")
    typer.echo(f"  bearer token: in {daemon.token_in}")
    typer.echo(f"  log:          {started.log}")
    typer.echo(f"  agents:       {', '.join(started.only) if started.only else 'every type'}")
    typer.echo(f"  works on:     {_work(started)}")
    typer.echo("  to end it:    crewyard stop")


def _work(started: "Started") -> str:
    active = [row for row in started.seen.dispatches if row.status == "active"]
    if active:
        return ", ".join(f"dispatch {row.dispatch_id} ({row.tasks} tasks)" for row in active)
    ready = started.seen.tasks.get("ready", 0)
    return f"nothing yet (ready: {ready}): call assign, or `crewyard run PLAN`"


# ---------------------------------------------------------------------------------------------------- stop


def _tell_stop(stopped: "Stopped") -> None:
    if stopped.status == "nothing_to_stop":
        also = " A `crewyard run` at work ends by itself." if stopped.others else ""
        typer.echo(f"There was nothing to stop: no daemon runs here, and no agent.{also}")
    _tell_agents(stopped)
    if stopped.daemon is not None and stopped.daemon.ended_by is not None:
        how = "" if stopped.daemon.ended_by == "SIGTERM" else f", by {stopped.daemon.ended_by}"
        typer.echo(f"The daemon (process {stopped.daemon.pid}) has ended{how}.")
    elif stopped.daemon is not None:
        typer.echo(f"The daemon (process {stopped.daemon.pid}) could not be ended.")
    if stopped.others:
        typer.echo("These processes still use this database; they launch no agent until work is asked for again:")
        for other in stopped.others:
            typer.echo(f"  {other.pid}  {other.command}")
    if stopped.status == "stopped":
        typer.echo("Nothing is launched until `crewyard start`, `crewyard run PLAN` or an assignment goes on.")


def _tell_agents(stopped: "Stopped") -> None:
    ended = [each for each in stopped.agents if each.status != "completed"]
    killed = sum(each.exit_signal == 9 for each in ended)
    if ended:
        many = "1 agent" if len(ended) == 1 else f"{len(ended)} agents"
        typer.echo(f"{many} ended, {killed or 'none'} by SIGKILL:")
    for each in stopped.agents:
        back = f"; task {each.task_id} is {each.task_status}" if each.task_id else ""
        kept = f"; its work is on {each.branch}" if each.has_commits else ""
        lies = f"; uncommitted work lies in {each.worktree}" if each.uncommitted else ""
        typer.echo(f"  {each.agent_id} {each.status}{back}{kept}{lies}")
    if stopped.left:
        typer.echo(f"Still alive: {', '.join(stopped.left)}. `crewyard stop --force` tries again.")
