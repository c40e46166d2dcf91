"""Why an error stands as it does."""

from collections.abc import Callable

from . import kinds
from .next_calls import call
from .store import Row, Transaction
from .why_launches import Bounds
from .why_subjects import Answer

AT_WORK = "SELECT 1 FROM specs_task WHERE task_id = ? AND status IN ('assigned', 'in_progress')"


def of_error(tx: Transaction, error: Row, _now: str, _bounds: Bounds) -> Answer:
    about = f" of task {error['task_id']}" if error["task_id"] else ""
    kind = error["error_class"].replace("_", " ")
    said = f"{error['message'].rstrip('.')}.{_log_in(tx, error)}"
    because, next_call = STATES[error["status"]](error)
    if error["status"] == "escalated" and tx.value(AT_WORK, (error["task_id"],)):
        next_call = call("why", subject=error["task_id"])  # it goes on already, and nothing is to be begun anew
    return f"Error {error['error_id']} ({kind}){about} {because}: {said}", next_call


def _log_in(tx: Transaction, error: Row) -> str:
    """How the program is logged in that says that it is not; git, say, has no such line."""
    if error["error_code"] != "authentication_failure" or error["status"] == "resolved":
        return ""
    agent = tx.one("SELECT kind FROM agent_lifecycle WHERE agent_id = ?", (error["agent_id"],))
    program = None if agent is None else kinds.named(agent["kind"]).program
    return "" if program is None else f" {program.log_in_cure}"


def _open(error: Row) -> Answer:
    by_itself = call("handle_agent_errors", action="handle", error_id=error["error_id"])
    if error["error_class"] == "deadlock":
        by_itself = call("detect_deadlocks", action="detect")
    return "is open, and nothing follows by itself", by_itself


def _recovering(error: Row) -> Answer:
    return "is being recovered from", call("why", subject=error["task_id"])


def _escalated(error: Row) -> Answer:
    level = f" ({error['escalation_level']})" if error["escalation_level"] else ""
    mended = call(
        "handle_agent_errors", action="recover", error_id=error["error_id"], recovery_strategy="manual_intervention"
    )
    return f"waits for a person{level}", mended if error["task_id"] else call("detect_deadlocks", action="detect")


def _resolved(error: Row) -> Answer:
    subject = error["task_id"]
    next_call = call("why", subject=subject) if subject else call("handle_agent_errors", action="detect")
    return f"is resolved since {error['resolved_at']}, because {error['resolution']}", next_call


STATES: dict[str, Callable[[Row], Answer]] = {
    "open": _open,
    "recovering": _recovering,
    "escalated": _escalated,
    "resolved": _resolved,
}
