"""Why a project or a worker stands as it does: by the same rows that the foreman decides by."""

import itertools
import json

from . import events
from .next_calls import call
from .store import Row, Transaction
from .why_launches import CREW, Bounds
from .why_subjects import Answer
from .wording import sentence, stopped
from .workflows import alarms, items, workers


def of_project(tx: Transaction, project: Row, _now: str, bounds: Bounds) -> Answer:
    name, found = project["project_id"], items.open_of(tx, project["project_id"])
    shown = call("projects", action="status", project_id=name)
    match project["status"]:
        case "completed" | "rejected":
            return f"Project {name} is {project['status']} since {project['completed_at']}.", shown
        case "held":
            return _stopped(tx, name, found), call("projects", action="resume", project_id=name)
        case "review":
            of_item = next((_of_item(tx, each) for each in found if each["status"] == "review"), "")
            again = call("queues", action="review", project_id=name, exit="retry")
            return f"Project {name} waits for a judgement. {of_item}".rstrip(), again
    if not found:
        after = dict(itertools.pairwise(bounds.stages)).get(project["stage"])
        begins = {"workflow": after} if after else {}
        return (
            f"Project {name} is in no queue: its {project['stage']} is done, and {after or 'the next stage'} begins "
            "with its deployment, which nobody has told yet.",
            call("projects", action="trigger", project_id=name, **begins, input="https://…"),
        )
    at_work = next((each for each in found if each["status"] == "working"), found[0])
    places = " ".join(_of_item(tx, each) for each in found)
    return f"Project {name}: {places[:1].lower()}{places[1:]}", _next_of(at_work)


def _stopped(tx: Transaction, name: str, found: list[Row]) -> str:
    """Who stopped it, and what of it is not at rest yet."""
    stop = next(each for each in reversed(events.of(tx, "project", name)) if each["kind"] == "project_held")
    why = json.loads(stop["data"]).get("why", "")
    held = ", ".join(each["workflow"] for each in found)
    where, reason = f" in {held}" if held else "", f": {why}" if why else ""
    said = f"{stop['actor']} stopped project {name}{where} at {stop['at']}{reason}"
    ending = [each["task_id"] for each in found if each["status"] == "working"]
    rest = f" Task {ending[0]} is still coming to its end; its work is kept." if ending else ""
    return f"{stopped(said)}{rest} It goes on when somebody resumes it."


def of_worker(tx: Transaction, worker: Row, _now: str, _bounds: Bounds) -> Answer:
    name = worker["worker_id"]
    item = items.of_worker(tx, name)
    match worker["status"]:
        case "busy" if item is not None:
            at = f"project {item['project_id']} since {items.began(tx, item)}, as task {item['task_id']}"
            return f"Worker {name} works on {at}.", call("why", subject=item["task_id"])
        case "offline":
            said = f"Worker {name} is offline since {worker['offline_since']} and is given nothing: {_why(tx, name)}"
            return stopped(said), call("workers", action="restart", worker_id=name)
        case "retired":
            said = f"Worker {name} left {worker['workflow']} at {worker['retired_at']}: {_why(tx, name)}"
            return stopped(said), call("workers", action="scale_up", workflow=worker["workflow"])
    waiting = items.depth(tx, worker["workflow"])
    queue = "nothing waits" if not waiting else f"{waiting} wait, and it gets one at the next look"
    return f"Worker {name} is idle: {queue} in {worker['workflow']}.", call("queues", action="status")


def _why(tx: Transaction, worker_id: str) -> str:
    """Why a worker is as it is: what keeps it from a restart, else what was said when it became so."""
    alarm = alarms.get(tx, "restart_failed", worker_id)
    if alarm is not None:
        return str(alarm["cause"])
    last = events.of(tx, "worker", worker_id, limit=1)[0]
    return str(json.loads(last["data"]).get("why", ""))


def _of_item(tx: Transaction, item: Row) -> str:
    """One sentence about a place in a queue."""
    return sentence(ITEMS[item["status"]](tx, item))


def _waiting(tx: Transaction, item: Row) -> str:
    row = [each["item_id"] for each in items.waiting(tx, item["workflow"])]
    place = row.index(item["item_id"]) + 1 if item["item_id"] in row else len(row)
    if item["wanted_worker"]:
        return f"it waits in {item['workflow']} for {item['wanted_worker']}, to whom it was assigned"
    there = workers.present(tx, item["workflow"])
    busy = sum(each["status"] == "busy" for each in there)
    return f"it is number {place} of {len(row)} in {item['workflow']}, where {busy} of {len(there)} workers are busy"


def _working(tx: Transaction, item: Row) -> str:
    return f"{item['worker_id']} works on its {item['workflow']} since {items.began(tx, item)} (task {item['task_id']})"


def _held(_tx: Transaction, item: Row) -> str:
    return f"its place in {item['workflow']} is held"


def _in_review(_tx: Transaction, item: Row) -> str:
    return f"its {item['workflow']} failed ({item['error_code']}): {item['error_message']}"


def _over(_tx: Transaction, item: Row) -> str:
    return f"its {item['workflow']} is {item['status']} since {item['ended_at']}"


ITEMS = {
    "waiting": _waiting, "working": _working, "held": _held, "review": _in_review, "done": _over, "rejected": _over,
}  # fmt: skip


def _next_of(item: Row) -> str:
    return call("why", subject=item["task_id"]) if item["status"] == "working" else CREW
