"""The workers (R-210 to R-214)."""

from .base import Argument, Step, WorkflowCommand

WORKER = Argument("worker_id", "the worker, such as dev-02", "worker", required=True)
WORKFLOW = Argument("workflow", "the workflow", "workflows", required=True)

INSTANCES = WorkflowCommand(
    name="instances",
    title="Workers",
    purpose="All workers, what each has in hand and how it is.",
    requirement="R-210",
    only_looks=True,
    arguments=(Argument("workflow", "those of this workflow alone", "workflow"),),
    steps=(Step("workers", {"action": "list", "workflow": "{workflow}"}),),
)
HEALTH = WorkflowCommand(
    name="health",
    title="Health of a worker",
    purpose="How a worker is: its state, its agent's heartbeat, what it has done of late.",
    requirement="R-211",
    only_looks=True,
    arguments=(WORKER,),
    steps=(Step("workers", {"action": "health", "worker_id": "{worker_id}"}),),
)
RESTART = WorkflowCommand(
    name="restart",
    title="Restart a worker",
    purpose="Restart a worker that has failed or is stuck; what it had goes on.",
    requirement="R-212",
    arguments=(WORKER,),
    steps=(Step("workers", {"action": "restart", "worker_id": "{worker_id}"}),),
)
SCALE_UP = WorkflowCommand(
    name="scale-up",
    title="Scale up",
    purpose="Add a worker to a workflow, as far as its range and the machine allow.",
    requirement="R-213",
    arguments=(WORKFLOW,),
    steps=(Step("workers", {"action": "scale_up", "workflow": "{workflow}"}),),
)
SCALE_DOWN = WorkflowCommand(
    name="scale-down",
    title="Scale down",
    purpose="Remove idle workers of a workflow, down to its minimum.",
    requirement="R-214",
    arguments=(WORKFLOW,),
    steps=(Step("workers", {"action": "scale_down", "workflow": "{workflow}"}),),
)
COMMANDS = (INSTANCES, HEALTH, RESTART, SCALE_UP, SCALE_DOWN)
