"""More or fewer workers, and restarts, because somebody asks (R-212 to R-214, R-224, R-228).

Each wish is one transaction, and a refused one has changed nothing.
"""

from dataclasses import dataclass

from .. import assignments, attempts, clock
from ..errors import InvalidInput, NoAvailableWork, ResourceExhaustion
from ..store import Row, Transaction
from . import alarms, capacity, items, scaling, workers
from .capacity import Host
from .pipeline import Pipeline

ALL = "all"


@dataclass(frozen=True)
class Change:
    """What became of a wish in one workflow: who came or went, or why nobody did."""

    workflow: str
    workers: list[str]
    why_not: str = ""


def named(line: Pipeline, workflow: str) -> list[str]:
    """The workflows that somebody means. Raises WorkflowNotFound."""
    if workflow not in ("", ALL):
        line.stage(workflow)
        return [workflow]
    return line.names


def scale_up(tx: Transaction, line: Pipeline, workflow: str, host: Host, *, now: str, actor: str) -> list[Change]:
    """A worker more in each, within its range and what the machine takes. Raises where one was named, and got none:
    WorkflowNotFound, InvalidInput, ResourceExhaustion."""
    done = []
    for name in named(line, workflow):
        there, most = len(workers.present(tx, name)), line.stage(name).max_workers
        shut = capacity.hindrance(tx, line, name, host)
        if there >= most:
            error: Exception = InvalidInput(
                f"{name} has {there} workers; max_workers is {most}.",
                hint=f"workers(action='scale_up', workflow={name!r}, emergency=true) goes beyond it for a while.",
            )
            done.append(_refused(name, workflow, error, f"it has its {most} workers"))
        elif shut:
            done.append(_refused(name, workflow, _no_room(name, shut), shut))
        else:
            came = capacity.change(tx, line, name, 1, f"scaled up by {actor}", now=now, actor=actor)
            done.append(Change(name, came))
    return done


def emergency(tx: Transaction, line: Pipeline, workflow: str, host: Host, *, now: str, actor: str) -> list[Change]:
    """As many workers as an emergency allows, for a limited time; those of an earlier one stay as long (C-31, R-224).

    Raises WorkflowNotFound, ResourceExhaustion where the machine takes none at all.
    """
    until = clock.plus(now, scaling.MINUTE * line.settings.emergency_minutes)
    done = []
    for name in named(line, workflow):
        tx.run("UPDATE worker SET until = ? WHERE workflow = ? AND until IS NOT NULL AND status <> 'retired'",
               (until, name))  # fmt: skip
        done.append(_emergency(tx, line, name, host, until, now=now, actor=actor))
    if not any(each.workers for each in done) and host.refusals:
        raise _no_room(" and ".join(each.workflow for each in done), host.refusals[0])
    return done


def _emergency(tx: Transaction, line: Pipeline, name: str, host: Host, until: str, *, now: str, actor: str) -> Change:
    stage, there = line.stage(name), len(workers.present(tx, name))
    came: list[str] = []
    shut, why = "", f"emergency, called by {actor}"
    while there + len(came) < stage.most_in_emergency and not (shut := capacity.hindrance(tx, line, name, host)):
        is_beyond = there + len(came) >= stage.max_workers
        origin, limit = ("emergency", until) if is_beyond else ("scaled", None)
        row = workers.add(tx, line, name, origin=origin, until=limit, now=now, actor=actor, why=why)
        came.append(row["worker_id"])
    if came:
        capacity.noted(tx, name, there, there + len(came), came, why, now=now, actor=actor)
    if there + len(came) > stage.max_workers:
        cause = f"{actor} called an emergency: {there + len(came)} workers until {until}; max_workers is"
        alarms.begin(
            tx, "emergency", name, "high", f"{cause} {stage.max_workers}", now=now, actor=actor,
            told=line.settings.administrators,
        )  # fmt: skip
    return Change(name, came, "" if came else shut or f"it has its {stage.most_in_emergency} workers")


def scale_down(tx: Transaction, line: Pipeline, workflow: str, *, now: str, actor: str) -> list[Change]:
    """Every idle worker goes that the least does not need, where nothing waits and the queue has rested (C-32).

    Raises WorkflowNotFound; NoAvailableWork where a workflow was named and nobody can go.
    """
    done = []
    for name in named(line, workflow):
        why_not = _keeps(tx, line, name, now=now)
        spare = len(workers.present(tx, name)) - line.stage(name).min_workers
        if why_not:
            error = NoAvailableWork(
                f"No worker of {name} can go: {why_not}.", hint=f"workers(action='list', workflow={name!r}) shows them."
            )
            done.append(_refused(name, workflow, error, why_not))
        else:
            went = capacity.change(tx, line, name, -spare, f"scaled down by {actor}", now=now, actor=actor)
            done.append(Change(name, went))
    return done


def _keeps(tx: Transaction, line: Pipeline, name: str, *, now: str) -> str:
    """Why nobody of the workflow can go; empty where somebody can."""
    there, rests = workers.present(tx, name), scaling.REST_DOWN * line.settings.cool_down_seconds
    least, rested = line.stage(name).min_workers, capacity.rested(tx, name, now=now)
    if len(there) <= least:
        return f"min_workers is {least}"
    if not any(row["status"] == "idle" for row in there):
        return "none is idle"
    if waiting := items.depth(tx, name):
        return f"{waiting} wait"
    if rested < rests:
        return f"it was scaled {rested:.0f} s ago, and rests for {rests:g} s (cool_down_seconds)"
    return ""


def restart_offline(tx: Transaction, worker_id: str, *, now: str, actor: str) -> Row:
    """One that is offline works again; at once, or as soon as its silent agent has ended.

    Raises WorkerNotFound, InvalidInput where it is at work or there is nothing to restart.
    """
    row = workers.get(tx, worker_id)
    name, why = row["worker_id"], f"restarted by {actor}"
    if row["status"] != "offline":
        raise InvalidInput(
            f"Worker {name} is {row['status']}; there is nothing to restart.",
            hint=f"workers(action='scale_up', workflow={row['workflow']!r}) brings workers back that have left."
            if row["status"] == "retired"
            else f"workers(action='health', worker_id={name!r}) tells how it is.",
        )
    if items.of_worker(tx, name) is None:
        workers.online(tx, name, now=now, actor=actor, why=why)
    else:
        tx.run("UPDATE worker SET restarted_at = ? WHERE worker_id = ?", (now, name))
    return workers.get(tx, name)


def restart_failed(tx: Transaction, *, now: str, actor: str) -> list[Row]:
    """Everyone who is offline, and the next attempt of everyone whose work waits for one; returns those (R-228)."""
    done = []
    for row in workers.present(tx):
        if row["status"] == "offline":
            done.append(restart_offline(tx, row["worker_id"], now=now, actor=actor))
        elif (work := waiting_attempt(tx, row, now=now)) is not None:
            attempts.begin_anew(tx, work["orchestrator_task_id"], now=now, actor=actor)
            done.append(row)
    return done


def waiting_attempt(tx: Transaction, worker: Row, *, now: str) -> Row | None:
    """The assignment of a worker whose next attempt waits for its time."""
    item = items.of_worker(tx, worker["worker_id"])
    work = None if item is None else assignments.of_task(tx, item["task_id"])
    is_delayed = work is not None and work["status"] == "assigned" and (work["not_before"] or "") > now
    return work if is_delayed else None


def _refused(name: str, asked: str, error: Exception, why_not: str) -> Change:
    """Raises ``error`` where this workflow was asked for by its name."""
    if asked == name:
        raise error
    return Change(name, [], why_not)


def _no_room(name: str, shut: str) -> ResourceExhaustion:
    return ResourceExhaustion(
        f"{name} gets no more workers: {shut}.", hint="monitor_resource_usage() tells what the machine is short of."
    )
