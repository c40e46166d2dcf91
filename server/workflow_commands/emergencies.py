"""Emergency commands (R-224 to R-229), and the document's two procedures of them in their order (R-230, R-231)."""

from .base import EVERY, Argument, Step, WorkflowCommand
from .queueing import PROJECT

CAPACITY = "capacity-exceeded"
FAILURE = "critical-failure"
DETAILS = Argument("details", "what happened", takes_rest=True)

EVERYWHERE = Argument("workflow", f"the workflow; else {EVERY}", "workflows", default=EVERY)

SCALE_UP = WorkflowCommand(
    name="emergency-scale-up",
    title="Emergency: scale up",
    purpose="Add workers beyond the maximum, for a limited time.",
    requirement="R-224",
    is_emergency=True,
    opens_incident=True,
    arguments=(EVERYWHERE,),
    steps=(Step("workers", {"action": "scale_up", "workflow": "{workflow}", "emergency": True}),),
)
TRIAGE = WorkflowCommand(
    name="priority-triage",
    title="Emergency: triage",
    purpose="Let what has this level go first, and what is below it step back.",
    requirement="R-225",
    is_emergency=True,
    opens_incident=True,
    arguments=(Argument("level", "else urgent", "level", default="urgent"),),
    steps=(Step("queues", {"action": "triage", "level": "{level}"}),),
)
ALERT = WorkflowCommand(
    name="alert-administrators",
    title="Emergency: alert administrators",
    purpose="Tell whoever administers the crew that something is wrong.",
    requirement="R-226",
    is_emergency=True,
    opens_incident=True,
    arguments=(Argument("reason", f"a word, such as {CAPACITY}", required=True), DETAILS),
    steps=(Step("analytics", {"action": "alert_administrators", "reason": "{reason}", "details": "{details}"}),),
)
HEALTH_CHECK = WorkflowCommand(
    name="health-check",
    title="Emergency: health check",
    purpose="Look at every worker, or at those of one workflow.",
    requirement="R-227",
    is_emergency=True,
    only_looks=True,
    arguments=(EVERYWHERE,),
    steps=(Step("workers", {"action": "health", "workflow": "{workflow}"}),),
)
RESTART_FAILED = WorkflowCommand(
    name="restart-failed-instances",
    title="Emergency: restart failed workers",
    purpose="Restart every worker that has failed.",
    requirement="R-228",
    is_emergency=True,
    opens_incident=True,
    steps=(Step("workers", {"action": "restart_failed"}),),
)
REPORT = WorkflowCommand(
    name="incident-report",
    title="Emergency: incident report",
    purpose="Write down how things stand and what was done, for later.",
    requirement="R-229",
    is_emergency=True,
    arguments=(DETAILS,),
    steps=(Step("analytics", {"action": "incident_report", "reason": "reported", "details": "{details}"}),),
)
OVERLOAD = WorkflowCommand(
    name="emergency-overload",
    title="Emergency: overload",
    purpose="The procedure for an overload: scale all up, let what is urgent go first, tell the administrators.",
    requirement="R-230",
    is_emergency=True,
    opens_incident=True,
    arguments=(DETAILS,),
    steps=(
        Step("workers", {"action": "scale_up", "workflow": EVERY, "emergency": True}),
        Step("queues", {"action": "triage", "level": "urgent"}),
        Step("analytics", {"action": "alert_administrators", "reason": CAPACITY, "details": "{details}"}),
    ),
)
CRITICAL_FAILURE = WorkflowCommand(
    name="emergency-failure",
    title="Emergency: critical failure",
    purpose="The procedure for a critical failure: stop its project, check all workers, restart those that failed, "
    "write an incident report.",
    requirement="R-231",
    is_emergency=True,
    arguments=(PROJECT, DETAILS),
    steps=(
        Step("projects", {"action": "emergency_stop", "project_id": "{project_id}", "why": "{details}"}),
        Step("workers", {"action": "health", "workflow": EVERY}),
        Step("workers", {"action": "restart_failed"}),
        Step(
            "analytics",
            {"action": "incident_report", "reason": f"{FAILURE} of {{project_id}}", "details": "{details}"},
        ),
    ),
)
COMMANDS = (SCALE_UP, TRIAGE, ALERT, HEALTH_CHECK, RESTART_FAILED, REPORT, OVERLOAD, CRITICAL_FAILURE)
