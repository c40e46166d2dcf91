"""How everything stands (R-203 to R-205)."""

from .base import Argument, Step, WorkflowCommand

QUEUE = Argument("workflow", "this queue alone, or review", "queue")

STATUS = WorkflowCommand(
    name="status",
    title="Status of the workflows",
    purpose="How everything stands: queues, workers, recent work against its targets, bottlenecks and the machine.",
    requirement="R-203",
    only_looks=True,
    steps=(
        Step("queues", {"action": "status"}),
        Step("workers", {"action": "list"}),
        Step("analytics", {"action": "metrics"}),
        Step("analytics", {"action": "bottlenecks"}),
        Step("monitor_resource_usage", {"action": "check"}),
    ),
)
QUEUES = WorkflowCommand(
    name="queues",
    title="Queues",
    purpose="All queues with their depth, waits and states, review too.",
    requirement="R-204",
    only_looks=True,
    arguments=(QUEUE,),
    steps=(Step("queues", {"action": "status", "workflow": "{workflow}"}),),
)
BACKLOG = WorkflowCommand(
    name="backlog",
    title="Backlog",
    purpose="The projects: where each stands and what it waits for; or one of them.",
    requirement="R-205",
    only_looks=True,
    arguments=(Argument("project_id", "this project alone", "repository"),),
    steps=(Step("projects", {"action": "status", "project_id": "{project_id}"}),),
)
COMMANDS = (STATUS, QUEUES, BACKLOG)
