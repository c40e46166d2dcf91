"""The tables of ``crewyard.toml`` and their keys: types, defaults, bounds, descriptions (contract 5)."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from . import names

ONE_YEAR = 366 * 24 * 3600
# As the providers' own programs say it; a plain "rate limit" in some test's output is not enough.
QUOTA_PATTERN = (
    r"(?i)\b(?:usage|rate|session|daily|weekly|hour|quota)s?[ _-]?limit[ _](?:has been |was |is )?"
    r"(?:reached|exceeded|hit)(?:\|(?P<reset>\d{10}))?|\bhit your (?:\w+ )?limit\b|\brate_limit_error\b"
    r"|\binsufficient_quota\b|\b(?:exceeded|exhausted) your (?:\w+ )?quota\b|\bquota exceeded for\b"
)
HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:]+\]")
Positive = Annotated[int, Field(gt=0)]
Delay = Annotated[float, Field(ge=0, le=ONE_YEAR)]
Timeout = Annotated[float, Field(gt=0, le=ONE_YEAR)]
NotEmpty = Annotated[str, Field(min_length=1)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Crew(Section):
    """How a crew is run."""

    integration_branch: str = Field(
        "roadmap", description="Branch that the work is merged into; made from HEAD where it is missing."
    )
    max_parallel: Positive = Field(4, description="Agents of one dispatch that work at the same time.")
    default_agent: str = Field(
        "code_developer",
        description="Agent type of a task that names none. Where just one agent is configured, that one.",
    )
    data_dir: str = Field("data", description="Databases, logs and run files, relative to the repository's root.")
    durability: Literal["full", "normal"] = Field(
        "full",
        description="What servers accepted survives a power cut (full), or only the death of any process (normal).",
    )
    worktree_path: str = Field(
        ".worktrees/implementation_task-{task_id}",
        description="Where a task's worktree lies, relative to the repository's root.",
    )
    branch_name: str = Field("roadmap-implementation_task-{task_id}", description="Name of a task's branch.")
    profile: Literal["task", "team"] = Field(
        "task", description="Delays before restarts: task 2, 4, 8 s (at most 120), team 60, 120, 240 s."
    )
    max_restarts: Annotated[int, Field(ge=0)] = Field(
        3, description="Restarts of a failed agent before its task goes to review."
    )
    restart_backoff_seconds: Delay | None = Field(
        None, description="First delay before a restart, in place of the profile's."
    )
    restart_backoff_cap_seconds: Delay | None = Field(
        None, description="Longest delay before a restart, in place of the profile's."
    )
    grace_period_seconds: Delay = Field(10.0, description="Time between SIGTERM and SIGKILL when an agent is ended.")
    on_exit: Literal["detach", "stop"] = Field(
        "detach", description="What a server that ends does with its agents: leave them running, or end them."
    )

    @field_validator("worktree_path", "branch_name")
    @classmethod
    def _has_the_task(cls, template: str, info: ValidationInfo) -> str:
        names.check_template(str(info.field_name), template)
        return template

    @field_validator("integration_branch", "branch_name")
    @classmethod
    def _is_a_branch(cls, name: str, info: ValidationInfo) -> str:
        names.check_branch(str(info.field_name), name.replace("{task_id}", "1"))
        if "integration_branch" in info.data:
            names.check_apart(info.data["integration_branch"], name.replace("{task_id}", "1"))
        return name

    @field_validator("data_dir")
    @classmethod
    def _lies_in_the_repository(cls, folder: str) -> str:
        path = Path(folder)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"{folder!r} is no folder below the repository's root")
        return folder


class Agent(Section):
    """One type of agent."""

    kind: Literal["claude", "codex", "gemini", "opencode", "command", "scripted"] = Field(
        "command",
        description="The program that it is: one of those that Crewyard knows, any `command`, or the built-in "
        "`scripted` one.",
    )
    command: list[str] = Field(
        default_factory=list, description="Kind `command`: the program and its arguments, with placeholders."
    )
    program: NotEmpty | None = Field(
        None, description="Name or path of the program, where it is not the kind's own name. Not with `command`."
    )
    model: NotEmpty | None = Field(
        None, description="The model that it is asked for, in the program's words. Unset: the program's own choice."
    )
    permissions: Literal["read", "edit", "run"] | None = Field(
        None,
        description="What it may do without asking: `read` looks only, `edit` changes files of its worktree, commits "
        "and runs the checks, `run` starts any command. Unset: `read` for roles that only look, else `edit`.",
    )
    allow: list[str] = Field(
        default_factory=list, description="What it may do beside that, in the program's own words for a permission."
    )
    arguments: list[str] = Field(
        default_factory=list, description="Further arguments for the program. Not with `command`."
    )
    environment: list[str] = Field(
        default_factory=list,
        description="Environment variables that it gets from ours, beside the built-in few and those by which the "
        "program of its kind is logged in.",
    )
    max_instances: Positive | None = Field(
        None, description="How many of this type work at the same time; no limit of its own where unset."
    )
    resume_command: list[str] = Field(
        default_factory=list,
        description="Kind `command`: what a restart runs in place of `command`, for a program that can go on with its "
        "last conversation; `{session_id}` is the same in both.",
    )
    timeout_seconds: Timeout = Field(3600.0, description="After this time the agent is ended.")
    quota_pattern: str = Field(
        QUOTA_PATTERN,
        description="Where an agent fails and this regular expression matches its last lines of output, its provider's "
        "limit is reached: that is no crash, and launches of the type wait. A group named `reset` may hold when it is "
        "over, as Unix time or ISO-8601. Empty: never.",
    )
    memory_limit_mb: Positive | None = Field(
        None, description="Beyond this resident memory of its whole process tree the agent is ended."
    )

    @model_validator(mode="after")
    def _command_is_there(self) -> "Agent":
        if self.kind == "command" and not self.command:
            raise ValueError("kind 'command' needs command = [program, argument, …]")
        if self.kind != "command" and (self.command or self.resume_command):
            raise ValueError(f"kind {self.kind!r} takes no command; kind = 'command' starts any program")
        if self.kind in ("command", "scripted"):
            for key in ("program", "model", "permissions", "allow", "arguments"):
                if getattr(self, key):
                    raise ValueError(f"kind {self.kind!r} takes no {key}; what its program is to do, its command says")
        return self

    @field_validator("quota_pattern")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return pattern


class Health(Section):
    """How live agents are watched. A sign of life is a tool call, a line of output, or use of the CPU."""

    check_interval_seconds: Timeout = Field(
        30.0, description="Time between two health checks, and two samples of the machine."
    )
    deadlock_interval_seconds: Timeout = Field(
        300.0, description="Time between two looks for tasks, or agents, that wait for each other in a circle."
    )
    warn_after_seconds: Timeout = Field(120.0, description="Without a sign of life for so long: warning.")
    stale_after_seconds: Timeout = Field(300.0, description="Without a sign of life for so long: stalled.")
    on_stalled: Literal["restart", "warn"] | None = Field(
        None, description="What is done with a stalled agent; unset: restart with profile task, warn with profile team."
    )
    cpu_warn_percent: Percent = Field(80.0, description="From it on an agent's CPU use is a warning; 100 is all cores.")
    cpu_critical_percent: Percent = Field(95.0, description="From it on, it is critical.")
    memory_warn_mb: Positive = Field(
        256, description="Above it an agent's memory is a warning; with a larger memory_limit_mb, 80 % of that."
    )
    memory_critical_mb: Positive = Field(2048, description="Above it, it is critical; never below memory_limit_mb.")
    healthy_after_seconds: Timeout = Field(
        600.0, description="After an attempt that lasted so long, restarts are counted from nought again."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "Health":
        if self.warn_after_seconds > self.stale_after_seconds:
            raise ValueError("warn_after_seconds lies beyond stale_after_seconds")
        return self


class Monitoring(Section):
    """How long samples of the machine and of agents are kept; one is taken with each health check."""

    full_hours: Annotated[float, Field(gt=0, le=ONE_YEAR / 3600)] = Field(
        6.0, description="Each sample is kept for so long; older ones become means of five minutes."
    )
    detailed_days: Annotated[float, Field(gt=0, le=ONE_YEAR / 86400)] = Field(
        2.0, description="Means of five minutes are kept for so long; older ones become means of hours."
    )
    keep_days: Annotated[float, Field(gt=0, le=ONE_YEAR / 86400)] = Field(28.0, description="What is older is deleted.")

    @model_validator(mode="after")
    def _in_order(self) -> "Monitoring":
        if not self.full_hours <= 24 * self.detailed_days <= 24 * self.keep_days:
            raise ValueError("full_hours, detailed_days and keep_days must grow in this order")
        return self


class Launch(Section):
    """When no agent is started although there is work. `why` tells which of these holds a task."""

    max_cpu_percent: Percent = Field(
        95.0,
        description="While the machine is busier than this and agents are at work, one launch every five seconds.",
    )
    min_free_memory_mb: Annotated[int, Field(ge=0)] = Field(500, description="Less free memory holds launches.")
    min_free_disk_mb: Annotated[int, Field(ge=0)] = Field(
        500, description="Less free space holds launches; of a small disk, 5 % must be free."
    )
    max_memory_percent: Percent = Field(
        90.0,
        description="More of the machine's memory in use holds launches; unless it is set, not where ten times "
        "min_free_memory_mb are free. 100: only min_free_memory_mb does.",
    )
    max_disk_percent: Percent = Field(
        95.0,
        description="More of the worktrees' disk in use holds launches; unless it is set, not where ten times "
        "min_free_disk_mb are free. 100: only min_free_disk_mb does.",
    )
    max_per_minute: Positive = Field(600, description="Launches of all agents in a minute.")
    max_per_task: Positive = Field(
        20, description="Launches of one task's agents in all, whatever ended them; then it goes to review."
    )
    singleton_scope: Literal["workspace", "type"] = Field(
        "workspace", description="One agent of a type at a time in each worktree, or in all of the repository."
    )
    failed_start_seconds: Delay = Field(5.0, description="An agent that fails within this time has failed to start.")
    failed_starts: Positive = Field(
        3, description="So many tasks in a row whose agents of one type fail to start hold that type's launches."
    )
    failed_starts_pause_seconds: Delay | None = Field(
        None,
        description="The first such hold, doubled each time that the launch after it fails too, up to the longest "
        "restart delay; unset: five times the first restart delay.",
    )
    failed_starts_pauses: Positive = Field(
        5, description="After so many holds in a row, what waits for that type goes to review."
    )
    quota_pause_seconds: Timeout = Field(
        300.0, description="How long launches of a type wait after its provider's limit, where it names no time."
    )


class Worktree(Section):
    """What tasks work in: how worktrees are made, and what is kept of them."""

    pool: Annotated[int, Field(ge=0)] = Field(
        4,
        description="So many clean worktrees of merged tasks are kept for the next ones, which then start in "
        "milliseconds, whatever the size of the tree. 0: none. Not with sparse, and not of trees with submodules.",
    )
    keep_pool: bool = Field(False, description="Keep them also when nothing is left to be done.")

    setup: list[str] = Field(
        default_factory=list,
        description="Program and arguments that make a new worktree fit for work (dependencies, a link to `.env`), run "
        "in it before its first agent, and in the tree of a merge before its check. It sees CREWYARD_TASK_ID, "
        "CREWYARD_WORKTREE and CREWYARD_ROOT, your own checkout. What it leaves must be ignored by git.",
    )
    setup_timeout_seconds: Timeout = Field(600.0, description="A setup that takes longer has failed.")
    sparse: list[str] = Field(
        default_factory=list,
        description="Folders that agents' worktrees hold, beside the files above them (git's sparse checkout, cone "
        "mode); empty: all. git then sets extensions.worktreeConfig in the repository, which git before 2.20 and some "
        "other programs cannot read. Merges are checked on the whole tree.",
    )
    gc: bool = Field(
        True,
        description="Call `git gc --auto` when no worktree, merge or agent is left and something was removed; your own "
        "gc.* settings say whether it does anything.",
    )

    @field_validator("sparse")
    @classmethod
    def _are_folders(cls, folders: list[str]) -> list[str]:
        for folder in folders:
            names.check_folder(folder)
        return folders


class Merge(Section):
    """What must hold before work reaches the integration branch."""

    check: list[str] = Field(
        default_factory=list, description="Command run on the merged tree; only what passes moves the branch."
    )
    check_timeout_seconds: Timeout = Field(1800.0, description="A check that takes longer has failed.")
    max_batch: Positive = Field(
        16,
        description="Merges that wait are made and checked together, so many at most; what fails together is halved "
        "until the culprit is found. 1: each by itself.",
    )
    max_attempts: Positive = Field(
        3,
        description="How often a task is sent back by conflicts or failed checks, and how often a merge waits for a "
        "checkout that is in the way, before it goes to review.",
    )
    retry_seconds: Delay = Field(
        10.0, description="Wait before a merge is tried again that a checkout was in the way of."
    )
    authorized_roles: list[str] = Field(
        default_factory=lambda: ["architect"],
        description="Agent types whose agents may approve merges, beside the lead: they have the tool `worktrees` with "
        "`queue`, `conflicts` and `merge`.",
    )
    auto_approve: bool = Field(
        True,
        description="Merge what is complete without waiting. Off: each merge waits until its head is approved, by "
        "`crewyard worktrees approve TASK` or worktrees(action='merge', task_id=…, approve=true).",
    )
    waiting_alert_seconds: Timeout = Field(
        3600.0,
        description="When merges have waited so long and none has ended meanwhile, the lead and project_manager are "
        "alerted and no agent is started until one does: new work would begin on a base that goes stale.",
    )
    union: list[str] = Field(
        default_factory=list, description="Files (patterns) whose conflicting additions are both kept."
    )
    rerere: bool = Field(
        True,
        description="Let git remember how a conflict was resolved in a task's worktree, and put it in where the same "
        "conflict comes again. Git keeps this in the repository (.git/rr-cache), and from then on does the same in "
        "your own merges there, unless you set rerere.enabled to false for them.",
    )

    @field_validator("authorized_roles")
    @classmethod
    def _are_agent_types(cls, roles: list[str]) -> list[str]:
        for role in roles:
            names.check_agent_type(role)
        return roles


class Messages(Section):
    """The message queue."""

    lease_seconds: Timeout = Field(
        60.0, description="How long a polled message is its reader's; unacknowledged, it is then to be delivered again."
    )
    redelivery_seconds: Annotated[list[Delay], Field(max_length=20)] | None = Field(
        None,
        description="Waits between the end of a lease and each redelivery; after the last one the message has failed, "
        "and its sender is told. Unset: half the lease, the lease, and twice the lease.",
    )
    count_first_attempt: bool = Field(
        False, description="The first delivery counts as one of the attempts, so that there is one redelivery less."
    )
    expire_after_hours: Annotated[float, Field(gt=0, le=ONE_YEAR / 3600)] = Field(
        24.0, description="Mail to agents that nobody took for this long expires, and its sender is told."
    )
    retention_days: Annotated[float, Field(gt=0, le=ONE_YEAR / 86400)] = Field(
        7.0,
        description="How long messages that have ended are kept before they are deleted, and how long mail to the lead "
        "waits for it.",
    )
    max_queue: Positive = Field(
        1000,
        description="Messages waiting in all; beyond it `route send` answers queue_full. The lead may go beyond it by "
        "a tenth.",
    )

    @property
    def max_retries(self) -> int:
        """Redeliveries of a message that is not acknowledged (C-08)."""
        waits = 3 if self.redelivery_seconds is None else len(self.redelivery_seconds)
        return max(0, waits - self.count_first_attempt)


class Http(Section):
    """Serving over HTTP."""

    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="Names under which the server is reached beside its address and this machine's names, such as that "
        "of a proxy; a request for any other is refused.",
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no host: give a name or an address without scheme and port")
        return value


class Plans(Section):
    """Reading plans."""

    subtasks: Literal["auto", "tasks", "description"] = Field(
        "auto",
        description="Task Master's subtasks become tasks of their own, or part of their parent's description; "
        "auto: tasks where they have dependencies.",
    )
