"""``create-worktree``: a branch and a worktree for a task (R-127 to R-131)."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .. import worktrees
from ..errors import (
    BranchExists,
    BranchNotFound,
    CrewyardError,
    DiskFull,
    GitError,
    InvalidBaseBranch,
    TaskNotFound,
    WorktreeExists,
)
from ..identity import Caller
from ..yard import Yard
from .base import Answer, Command, Example, Listed, Parameters, required, told_as

Action = Literal["create", "create_multiple"]


class Given(Parameters):
    action: Annotated[Action, Field(description="for one task, or for each of TASKS")] = "create"
    task_id: Annotated[str | None, Field(description="create: the task")] = None
    tasks: Annotated[Listed[str] | None, Field(description="create_multiple: ids of tasks")] = None
    base_branch: Annotated[str | None, Field(description="where it begins; else the integration branch")] = None
    worktree_root: Annotated[
        str | None, Field(description="the folder that it is made in; else that of [crew] worktree_path")
    ] = None


class Result(Answer):
    action: Action


class Made(BaseModel):
    task_id: str
    worktree_path: str
    branch_name: str
    status: str
    created_at: str
    git_commit_ref: str


class Created(Result, Made):
    pass


class Failed(BaseModel):
    task_id: str
    error: str
    message: str


class CreatedAll(Result):
    worktrees_created: int
    worktrees: list[Made]
    failed_tasks: list[Failed]


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    if given.action == "create":
        task_id = required("create-worktree", given.action, "TASK_ID", given.task_id)
        return Created(action="create", **(await _make(yard, caller, task_id, given)).model_dump())
    required("create-worktree", given.action, "TASKS", "yes" if given.tasks else None)
    made, failed = [], []
    for task_id in dict.fromkeys(given.tasks or ()):
        try:
            made.append(await _make(yard, caller, task_id, given))
        except CrewyardError as error:
            failed.append(Failed(task_id=task_id, error=error.code, message=error.message))
    return CreatedAll(action="create_multiple", worktrees_created=len(made), worktrees=made, failed_tasks=failed)


async def _make(yard: Yard, caller: Caller, task_id: str, given: Given) -> Made:
    folder = None
    if given.worktree_root is not None:
        folder = (yard.root / Path(given.worktree_root).expanduser()).resolve() / yard.paths.worktree(task_id).name
    with told_as(InvalidBaseBranch, of=BranchNotFound):
        made = await yard.operations.create_worktree(
            task_id, base_branch=given.base_branch, actor=caller.name, folder=folder
        )
    if not made.created:
        raise WorktreeExists(
            f"Task {task_id} has the worktree {made.path} already.",
            hint="Use it, or remove it with cleanup-worktrees.",
            task_id=task_id,
            worktree_path=made.path,
            branch_name=made.branch,
        )
    row = await yard.read(caller, worktrees.state_of, task_id)
    return Made(**{key: row[key] for key in Made.model_fields})


COMMAND = Command(
    name="create-worktree",
    purpose="Make a branch and a worktree of its own for a task.",
    parameters=Given,
    answer=Result,
    run=run,
    acts=True,
    reads=("specs_task", "orchestrator_state", "orchestrator_task", "supervisor_lease"),
    writes=("git_worktree_tracker", "supervisor_lease", "event"),
    rules=("CFR-013", "CFR-014"),
    errors=(TaskNotFound, WorktreeExists, BranchExists, InvalidBaseBranch, DiskFull, GitError),
    criteria=(
        "The worktree is clean, on the task's branch, at the tip of the base branch.",
        "orchestrator_state shows it as `created`; what could not be made leaves neither folder nor branch.",
        "No agent starts by it.",
    ),
    related=("create-parallel-tasks", "spawn-agent-session", "merge-completed-work", "cleanup-worktrees"),
    differs=(
        "BASE_BRANCH is the integration branch where it is not given; it is made from HEAD where it is missing.",
        "data/ is not linked into the worktree: an agent reaches the database through its own MCP server.",
        "A leftover branch of the name is used again; what it held is kept under refs/crewyard/salvage.",
    ),
    examples=(
        Example("For one task.", {"TASK_ID": "parser"}),
        Example("For several.", {"ACTION": "create_multiple", "TASKS": '["printer", "docs"]'}),
        Example("From a branch that is not there.", {"TASK_ID": "design", "BASE_BRANCH": "nowhere"}),
        Example("It has one already.", {"TASK_ID": "parser"}),
    ),
)
