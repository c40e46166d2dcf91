"""What a failure is called, how grave it is, and what comes of it: one table (R-118, R-160). Pure.

Whether an attempt is followed by another (``backoff``) and what is recorded of its error (``error_events``) are read
from the same rows, so that they agree. What no row knows is medium, not tried again, and for a person to look at.
"""

import re
from dataclasses import dataclass
from typing import Literal

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")


@dataclass(frozen=True)
class Failure:
    """``retryable``: the same again may go well. ``restarts`` bounds how often, where it is less than for a crash;
    ``patience`` multiplies the wait. ``strategy`` is what is done about it."""

    name: str
    severity: Severity
    strategy: str
    retryable: bool
    restarts: int | None = None
    patience: int = 1


PROCESS_DIED = Failure("process_died", "medium", "retry", retryable=True)
TASK_TIMEOUT = Failure("task_timeout", "medium", "longer_timeout", retryable=True, restarts=2)
GIT_CONFLICT = Failure("git_conflict", "high", "rework", retryable=False)
GIT_FAILURE = Failure("git_failure", "medium", "retry", retryable=True)
# What lies in somebody's own checkout only that person can take out of the way.
CHECKOUT_IN_THE_WAY = Failure("git_failure", "high", "tidy_checkout", retryable=True)
WORK_REJECTED = Failure("work_rejected", "medium", "rework", retryable=True)
SYNTAX_ERROR = Failure("syntax_error", "high", "manual_review", retryable=False)
RESOURCE_EXHAUSTED = Failure("resource_exhausted", "medium", "wait", retryable=True, restarts=2, patience=4)
PROVIDER_LIMIT = Failure("provider_limit", "medium", "wait", retryable=True)
DATABASE_LOCK = Failure("database_lock", "low", "backoff", retryable=True)
NETWORK_TIMEOUT = Failure("network_timeout", "low", "backoff", retryable=True)
DEADLOCK = Failure("deadlock", "high", "resolve_graph", retryable=False)
NEEDS_ANSWER = Failure("needs_answer", "high", "manual_review", retryable=False)
CONFIGURATION = Failure("invalid_configuration", "high", "mend_configuration", retryable=False)
# A person may log in meanwhile, so it is tried again; that is bounded, and everybody knows at once.
AUTHENTICATION = Failure("authentication_failure", "critical", "log_in", retryable=True, patience=4)
CORRUPTION = Failure("corruption", "critical", "manual_review", retryable=False)
DATA_LOSS = Failure("data_loss", "critical", "manual_review", retryable=False)
UNKNOWN = Failure("unknown", "medium", "manual_review", retryable=False)

BY_CODE: dict[str, Failure] = {
    "agent_failed": PROCESS_DIED,
    "agent_lost": PROCESS_DIED,
    "agent_stalled": PROCESS_DIED,
    "startup_failed": PROCESS_DIED,
    "killed": PROCESS_DIED,
    "agent_timeout": TASK_TIMEOUT,
    "merge_conflicts": GIT_CONFLICT,
    "git_error": GIT_FAILURE,
    "dirty_working_directory": CHECKOUT_IN_THE_WAY,
    "worktree_exists": GIT_FAILURE,
    "branch_exists": GIT_FAILURE,
    "setup_failed": GIT_FAILURE,
    "not_merged": GIT_FAILURE,
    "check_failed": WORK_REJECTED,
    "merge_check_failed": WORK_REJECTED,
    "hook_failed": WORK_REJECTED,
    "no_evidence": WORK_REJECTED,
    "uncommitted_changes": WORK_REJECTED,
    "resource_exhaustion": RESOURCE_EXHAUSTED,
    "disk_full": GIT_FAILURE,
    "quota": PROVIDER_LIMIT,
    "database_busy": DATABASE_LOCK,
    "network_timeout": NETWORK_TIMEOUT,
    "syntax_error": SYNTAX_ERROR,
    "deadlock": DEADLOCK,
    "non_retryable_error": NEEDS_ANSWER,
    "agent_settings_changed": NEEDS_ANSWER,
    "wrong_branch": CONFIGURATION,
    "spawn_failed": CONFIGURATION,
    "authentication_failure": AUTHENTICATION,
    "database_corrupt": CORRUPTION,
    "corruption": CORRUPTION,
    "data_loss": DATA_LOSS,
}
# Codes that say little: there the words count, the gravest first. Of an agent these are its last line, which may be
# anything that it cites, a failed test say. So they count only where they begin as programs begin their own complaints,
# and nothing but what agent programs alone say makes them graver than that the agent died.
_LAST = r"Its last words: (?:(?!Assert)[\w.]*(?:[Ee]rror|ERROR|Exception|fatal): )*(?:\[Errno -?\d+\] )?"
_GIT = r"(?m)(?:^|: )(?:error|fatal): "
WORDS: dict[str, tuple[tuple[str, str], ...]] = {
    "agent_failed": (
        (
            "authentication_failure",
            r"Its last words: (?:Invalid API key · |Not logged in · |Please run /login\b|OAuth token \w+ · "
            r"|(?:Failed to authenticate\. )?API Error: 401 \{|(?:ERROR: )?unexpected status 401 Unauthorized\b)",
        ),
        ("database_busy", rf"(?i){_LAST}database is locked\b"),
        (
            "resource_exhaustion",
            rf"{_LAST}(?:[Nn]o space left on device\b|[Cc]annot allocate memory\b|MemoryError$"
            r"|[Tt]oo many open files\b|[Rr]esource temporarily unavailable\b)",
        ),
        (
            "network_timeout",
            rf"{_LAST}(?:API Error:? )?\(?(?:(?:connect|read|getaddrinfo|request to \S+ failed, reason:) )?"
            r"(?:ETIMEDOUT|ECONNRESET|EAI_AGAIN|ENOTFOUND|[Cc]onnection (?:error|timed out)|[Rr]equest timed out"
            r"|Temporary failure in name resolution)\b",
        ),
    ),
    "git_error": (
        (
            "corruption",
            rf"{_GIT}(?:object file \S+ is empty|loose object \S+ .{{0,80}}is corrupt|object corrupt or missing"
            r"|packfile \S+ .{0,40}(?:corrupt|mismatch))",
        ),
        ("data_loss", rf"{_GIT}bad object\b|\bmissing (?:blob|tree|commit) [0-9a-f]{{40}}\b"),
        ("authentication_failure", rf"{_GIT}Authentication failed for\b|\bPermission denied \(publickey"),
        ("network_timeout", rf"{_GIT}unable to access\b|\b[Cc]ould not resolve host\b|\bssh: connect to host\b"),
    ),
}


def named(code: str, message: str) -> str:
    """The code that says most: where ``code`` is vague, the one that the words of ``message`` give."""
    return next((name for name, pattern in WORDS.get(code, ()) if re.search(pattern, message)), code)


def of(code: str) -> Failure:
    """What is known of a failure with this code."""
    return BY_CODE.get(code, UNKNOWN)


def graver(one: Severity, other: Severity) -> Severity:
    return max(one, other, key=SEVERITIES.index)
