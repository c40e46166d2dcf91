"""The error tree. Each class carries a stable ``code`` (contract 3); its docstring is its default message.

CrewyardError
├── InvalidInput            invalid_input           what the caller gave cannot be used; nothing was changed
│   ├── PlanRefused         invalid_input           a plan, naming file, line or id
│   ├── DependencyCycle     dependency_cycle
│   ├── ValidationFailed    validation_failed       several at once, each with its own error
│   └── ConfigurationError  invalid_input           crewyard.toml or an environment variable
├── NotFound
│   ├── TaskNotFound        task_not_found
│   ├── AgentNotFound       agent_not_found
│   ├── MessageNotFound     message_not_found
│   ├── DispatchNotFound    dispatch_not_found
│   ├── ErrorNotFound       error_not_found
│   ├── ProjectNotFound     project_not_found
│   ├── WorkerNotFound      worker_not_found
│   ├── WorkflowNotFound    workflow_not_found
│   ├── WorktreeNotFound    worktree_not_found
│   ├── ProcessNotFound     process_not_found
│   └── BranchNotFound      branch_not_found
│       └── InvalidBaseBranch invalid_base_branch
├── Refused                                         the request is sound, but not now or not for this caller
│   ├── IllegalTransition   illegal_transition
│   ├── AlreadyAssigned     already_assigned
│   ├── SingletonViolation  singleton_violation
│   ├── NoAvailableWork     no_available_work
│   ├── TaskNotCompleted    task_not_completed
│   ├── NotMerged           not_merged
│   ├── MergeAlreadyDone    merge_already_done
│   ├── StillInUse          still_in_use
│   ├── UnknownRecipient    unknown_recipient
│   ├── QueueFull           queue_full
│   ├── NotAuthorized       not_authorized
│   ├── ResourceExhaustion  resource_exhaustion
│   ├── MessageHeld         lease_lost              another reader has it now
│   └── LeaseLost           lease_lost
├── AgentError
│   ├── SpawnFailed         spawn_failed
│   ├── StartupTimeout      startup_timeout
│   ├── KillFailed          kill_failed
│   ├── MaxRetriesExceeded  max_retries_exceeded
│   ├── SteersAgents        agent_settings_changed
│   └── NonRetryable        non_retryable_error
├── GitError                git_error
│   ├── WorktreeExists      worktree_exists
│   ├── BranchExists        branch_exists
│   ├── DiskFull            disk_full
│   ├── SetupFailed         setup_failed
│   ├── DirtyWorkingDirectory dirty_working_directory
│   ├── WrongBranch         wrong_branch
│   ├── UncommittedChanges  uncommitted_changes
│   ├── CleanupFailed       cleanup_failed
│   ├── MergeConflicts      merge_conflicts
│   ├── MergeCheckFailed    merge_check_failed
│   └── HookFailed          hook_failed
└── StoreError              database_error
    ├── DatabaseCorrupt     database_corrupt
    ├── DatabaseBusy        database_busy
    └── OldSchema           database_outdated
"""

from typing import Any, ClassVar


class CrewyardError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, hint: str = "", **details: Any) -> None:
        """``message`` says what is wrong with the facts, ``hint`` the next step, ``details`` the ids concerned."""
        # What git names may hold bytes that are no UTF-8; they are shown, and kept out of what is only text.
        shown = message.encode("utf-8", "backslashreplace").decode()
        self.message = shown or (type(self).__doc__ or "").splitlines()[0]
        self.hint = hint
        self.details = details
        super().__init__(self.message)
        if hint:
            self.add_note(hint)  # a traceback shows it, to whoever uses the package from Python

    @property
    def as_text(self) -> str:
        """Code, message and hint, where there is room for a text only."""
        return f"{self.code}: {self.message} {self.hint}".rstrip()


class InvalidInput(CrewyardError):
    """The arguments cannot be used."""

    code = "invalid_input"


class PlanRefused(InvalidInput):
    """The plan cannot be used."""


class DependencyCycle(InvalidInput):
    """The dependencies form a cycle."""

    code = "dependency_cycle"


class ValidationFailed(InvalidInput):
    """Some of what was given cannot be used; nothing was changed."""

    code = "validation_failed"


class ConfigurationError(InvalidInput):
    """The configuration cannot be used."""


class NotFound(CrewyardError):
    """There is no such thing."""

    code = "not_found"


class TaskNotFound(NotFound):
    """There is no such task."""

    code = "task_not_found"


class ProjectNotFound(NotFound):
    """There is no such project."""

    code = "project_not_found"


class WorkerNotFound(NotFound):
    """There is no such worker."""

    code = "worker_not_found"


class WorkflowNotFound(NotFound):
    """There is no such workflow."""

    code = "workflow_not_found"


class AgentNotFound(NotFound):
    """There is no such agent."""

    code = "agent_not_found"


class MessageNotFound(NotFound):
    """There is no such message."""

    code = "message_not_found"


class DispatchNotFound(NotFound):
    """There is no such dispatch."""

    code = "dispatch_not_found"


class ErrorNotFound(NotFound):
    """There is no such error event."""

    code = "error_not_found"


class WorktreeNotFound(NotFound):
    """There is no such worktree."""

    code = "worktree_not_found"


class ProcessNotFound(NotFound):
    """The agent's process has ended already."""

    code = "process_not_found"


class BranchNotFound(NotFound):
    """There is no such branch."""

    code = "branch_not_found"


class InvalidBaseBranch(BranchNotFound):
    """There is no such branch to begin a worktree from."""

    code = "invalid_base_branch"


class Refused(CrewyardError):
    """That cannot be done now."""

    code = "refused"


class IllegalTransition(Refused):
    """That state does not follow the present one."""

    code = "illegal_transition"


class AlreadyAssigned(Refused):
    """The task is being worked on already."""

    code = "already_assigned"


class SingletonViolation(Refused):
    """An agent of this type runs in this workspace already."""

    code = "singleton_violation"


class NoAvailableWork(Refused):
    """No task can be started now."""

    code = "no_available_work"
    retryable = True


class TaskNotCompleted(Refused):
    """The task's work is not complete."""

    code = "task_not_completed"
    retryable = True


class NotMerged(Refused):
    """The branch holds work that is not on the integration branch."""

    code = "not_merged"


class MergeAlreadyDone(Refused):
    """The work is on the integration branch already."""

    code = "merge_already_done"


class StillInUse(Refused):
    """An agent works in that worktree."""

    code = "still_in_use"
    retryable = True


class UnknownRecipient(Refused):
    """Nobody of that name can be written to."""

    code = "unknown_recipient"


class QueueFull(Refused):
    """The message queue is full."""

    code = "queue_full"
    retryable = True


class NotAuthorized(Refused):
    """The caller may not do that."""

    code = "not_authorized"


class ResourceExhaustion(Refused):
    """The machine has no room for another agent."""

    code = "resource_exhaustion"
    retryable = True


class MessageHeld(Refused):
    """Another reader has that message now."""

    code = "lease_lost"


class LeaseLost(Refused):
    """Another server's supervisor acts now."""

    code = "lease_lost"
    retryable = True


class AgentError(CrewyardError):
    """An agent failed."""

    code = "agent_failed"


class SpawnFailed(AgentError):
    """The agent's program could not be started."""

    code = "spawn_failed"


class StartupTimeout(AgentError):
    """The agent did not start in time."""

    code = "startup_timeout"
    retryable = True


class KillFailed(AgentError):
    """The agent did not end in time."""

    code = "kill_failed"
    retryable = True


class MaxRetriesExceeded(AgentError):
    """The agent failed as often as it may."""

    code = "max_retries_exceeded"


class SteersAgents(AgentError):
    """The work changes what tells agent programs what to execute, and its agent may not run what it likes itself."""

    code = "agent_settings_changed"


class NonRetryable(AgentError):
    """The agent failed in a way that trying again does not mend."""

    code = "non_retryable_error"


class GitError(CrewyardError):
    """git refused."""

    code = "git_error"


class WorktreeExists(GitError):
    """There is a worktree for that already."""

    code = "worktree_exists"


class BranchExists(GitError):
    """There is a branch of that name already."""

    code = "branch_exists"


class DiskFull(GitError):
    """There is no room for a worktree."""

    code = "disk_full"
    retryable = True


class SetupFailed(GitError):
    """The worktree could not be made fit for work."""

    code = "setup_failed"


class DirtyWorkingDirectory(GitError):
    """Local changes are in the way."""

    code = "dirty_working_directory"
    retryable = True


class WrongBranch(GitError):
    """The checkout is not on the branch that is registered for it."""

    code = "wrong_branch"


class UncommittedChanges(GitError):
    """There are changes that are not committed."""

    code = "uncommitted_changes"


class CleanupFailed(GitError):
    """The worktree could not be removed."""

    code = "cleanup_failed"


class MergeConflicts(GitError):
    """The branches change the same lines."""

    code = "merge_conflicts"


class MergeCheckFailed(GitError):
    """The check failed on the merged tree."""

    code = "merge_check_failed"


class HookFailed(GitError):
    """A hook of the repository's refused the commit."""

    code = "hook_failed"


class StoreError(CrewyardError):
    """The database cannot be used."""

    code = "database_error"


class DatabaseCorrupt(StoreError):
    """The database's file is damaged."""

    code = "database_corrupt"


class DatabaseBusy(StoreError):
    """Another process holds the database."""

    code = "database_busy"
    retryable = True


class OldSchema(StoreError):
    """The database is of an older version."""

    code = "database_outdated"
