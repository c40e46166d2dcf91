"""What goes into the workflows, and what is stopped there (R-215 to R-219, G-11).

The first workflow takes what is new, the others what has come through those before. So in the document's pipeline these
are ``/dispatch-genesis``, ``/trigger-development`` and ``/trigger-content``.
"""

from collections.abc import Sequence

from .base import LEVELS, Argument, Step, WorkflowCommand
from .queueing import PROJECT

FIRST = Argument("level", f"{', '.join(LEVELS)}; else normal", "level", by_name_only=True)
MORE = (
    FIRST,
    Argument("kind", "what the routes of [workflows] go by", by_name_only=True),
    Argument(
        "complexity",
        "simple, standard or complex; else by the length of the text",
        "choice",
        choices=("simple", "standard", "complex"),
        by_name_only=True,
    ),
    Argument("location", "where it is best worked on", by_name_only=True),
)
TAKEN = {"level": "{level}", "kind": "{kind}", "complexity": "{complexity}", "location": "{location}"}

WHY = Argument("details", "why", takes_rest=True)
DEPLOYED_AT = Argument("deployed_at", "where it was deployed, where its worker has not said so")

BATCH = WorkflowCommand(
    name="batch-process",
    title="Dispatch a batch",
    purpose="Dispatch each project that a file of the repository lists, a line each or as JSON; or none of them.",
    requirement="R-216",
    arguments=(Argument("path", "the file", required=True, takes_rest=True), *MORE),
    steps=(Step("projects", {"action": "dispatch", "path": "{path}", "batch": True, **TAKEN}),),
)
EMERGENCY_STOP = WorkflowCommand(
    name="emergency-stop",
    title="Emergency stop",
    purpose="Stop all work on a project: its workers end gently, their work is kept, and nothing begins until /resume.",
    requirement="R-219",
    is_emergency=True,
    opens_incident=True,
    arguments=(PROJECT, WHY),
    steps=(Step("projects", {"action": "emergency_stop", "project_id": "{project_id}", "why": "{details}"}),),
)
RESUME = WorkflowCommand(
    name="resume",
    title="Resume",
    purpose="Let a project that was stopped go on from where it was.",
    requirement="R-219",
    is_emergency=True,
    arguments=(PROJECT, WHY),
    steps=(Step("projects", {"action": "resume", "project_id": "{project_id}", "why": "{details}"}),),
)


def commands(stages: Sequence[str]) -> tuple[WorkflowCommand, ...]:
    triggers = [_trigger(name, of_repository=place == 0) for place, name in enumerate(stages[1:])]
    return (_dispatch(stages[0]), BATCH, *triggers, EMERGENCY_STOP, RESUME)


def _dispatch(stage: str) -> WorkflowCommand:
    return WorkflowCommand(
        name=f"dispatch-{stage}",
        title=f"Dispatch to {stage}",
        purpose=f"Queue a new project for {stage}.",
        requirement="R-215",
        arguments=(
            Argument(
                "input",
                "what is to be made: in words, as an issue's URL, or the path of a text file in the repository",
                required=True,
                takes_rest=True,
                or_file="path",
            ),
            Argument("path", "the file that says it, in place of words", by_name_only=True),
            *MORE,
        ),
        steps=(Step("projects", {"action": "dispatch", "input": "{input}", "path": "{path}", **TAKEN}),),
    )


def _trigger(stage: str, *, of_repository: bool) -> WorkflowCommand:
    name, described = ("repo_url", "its repository, or its id") if of_repository else ("project_id", "the project")
    of_what = Argument(name, described, "repository", required=True)
    asked = {"action": "trigger", "project_id": f"{{{name}}}", "workflow": stage}
    return WorkflowCommand(
        name=f"trigger-{stage}",
        title=f"Trigger {stage}",
        purpose=f"Begin {stage} of a project that has come through what is before it.",
        requirement="R-217" if of_repository else "R-218",
        arguments=(of_what,) if of_repository else (of_what, DEPLOYED_AT),
        steps=(Step("projects", asked if of_repository else {**asked, "input": "{deployed_at}"}),),
    )
