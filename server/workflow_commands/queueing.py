"""Who gets what, and what goes first (R-206 to R-209, G-10)."""

from .base import LEVELS, Argument, Step, WorkflowCommand

PROJECT = Argument("project_id", "the project, such as P-7", "project", required=True)

ASSIGN = WorkflowCommand(
    name="assign",
    title="Assign",
    purpose="Give a project that waits in a workflow to a worker of it.",
    requirement="R-206",
    arguments=(
        Argument("workflow", "the queue that it waits in", "workflow", required=True),
        PROJECT,
        Argument("worker_id", "who is to work on it, such as dev-02", "worker", required=True),
    ),
    steps=(
        Step(
            "queues",
            {"action": "assign", "workflow": "{workflow}", "project_id": "{project_id}", "worker_id": "{worker_id}"},
        ),
    ),
)
REBALANCE = WorkflowCommand(
    name="rebalance",
    title="Rebalance",
    purpose="Spread what waits over the workers anew; what is in work stays where it is.",
    requirement="R-207",
    arguments=(Argument("workflow", "this workflow alone", "workflow"),),
    steps=(Step("queues", {"action": "rebalance", "workflow": "{workflow}"}),),
)
PRIORITY = WorkflowCommand(
    name="priority",
    title="Priority",
    purpose="Change a project's priority, for this and all later workflows.",
    requirement="R-208",
    arguments=(PROJECT, Argument("level", ", ".join(LEVELS), "level", required=True)),
    steps=(Step("queues", {"action": "priority", "project_id": "{project_id}", "level": "{level}"}),),
)
REVIEW = WorkflowCommand(
    name="review",
    title="Decide a review",
    purpose="Let a project out of review: try again, give it up, or send it back to an earlier workflow.",
    requirement="R-235",
    arguments=(
        PROJECT,
        Argument("exit", "retry, reject or return", "choice", required=True, choices=("retry", "reject", "return")),
        Argument("why", "what its next worker is told, or why it is given up", takes_rest=True),
        Argument("workflow", "return: the workflow that it goes back to", "workflow", by_name_only=True),
    ),
    steps=(
        Step(
            "queues",
            {
                "action": "review",
                "project_id": "{project_id}",
                "exit": "{exit}",
                "workflow": "{workflow}",
                "why": "{why}",
            },
        ),
    ),
)
COMMANDS = (ASSIGN, REBALANCE, PRIORITY, REVIEW)
