"""How the workflows do, out of what was recorded (R-220 to R-223), and what customers say of it (R-262)."""

from .base import Argument, Step, WorkflowCommand

METRICS = WorkflowCommand(
    name="metrics",
    title="Metrics",
    purpose="Throughput, durations and rates, each against its target.",
    requirement="R-220",
    only_looks=True,
    arguments=(Argument("hours", "of the last hours; else 24", "number"),),
    steps=(Step("analytics", {"action": "metrics", "hours": "{hours}"}),),
)
BOTTLENECKS = WorkflowCommand(
    name="bottlenecks",
    title="Bottlenecks",
    purpose="What holds the workflows up, and what would help.",
    requirement="R-221",
    only_looks=True,
    steps=(Step("analytics", {"action": "bottlenecks"}),),
)
FORECAST = WorkflowCommand(
    name="forecast",
    title="Forecast",
    purpose="When projects are likely to be done, and how right such forecasts were so far.",
    requirement="R-222",
    only_looks=True,
    arguments=(Argument("project_id", "this project alone", "project"),),
    steps=(Step("analytics", {"action": "forecast", "project_id": "{project_id}"}),),
)
ALERTS = WorkflowCommand(
    name="alerts",
    title="Alerts",
    purpose="What is wrong at this moment: since when, and why.",
    requirement="R-223",
    only_looks=True,
    steps=(Step("analytics", {"action": "alerts"}),),
)
FEEDBACK = WorkflowCommand(
    name="feedback",
    title="Feedback",
    purpose="Record what a customer says of a project.",
    requirement="R-262",
    arguments=(
        Argument("project_id", "the project", "project", required=True),
        Argument(
            "rating",
            "positive, neutral or negative",
            "choice",
            required=True,
            choices=("positive", "neutral", "negative"),
        ),
        Argument("details", "in their words", takes_rest=True),
    ),
    steps=(
        Step(
            "analytics",
            {"action": "feedback", "project_id": "{project_id}", "rating": "{rating}", "details": "{details}"},
        ),
    ),
)
COMMANDS = (METRICS, BOTTLENECKS, FORECAST, ALERTS, FEEDBACK)
