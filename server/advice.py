"""What a person can do about each error: one plain sentence a code, for ``why`` and whoever else tells of errors.

A test looks that every code that the program can record has its sentence.
"""

ADVICE: dict[str, str] = {
    # An attempt at a task
    "agent_failed": "Its last words and its log say what went wrong.",
    "agent_timeout": "It was cut off; give it more time (timeout_seconds) or split the task.",
    "agent_lost": "Nobody knows how it ended; its log may tell.",
    "agent_stalled": "It gave no sign of life; its log shows where it stopped.",
    "killed": "Somebody had it ended.",
    "restarted": "Somebody had it started again.",
    "quota": "The provider's limit is waited out; nothing is to be done.",
    "startup_failed": "Its program could not be started just then; look whether it is there and may be run.",
    "startup_timeout": "It did not start in time; look at the load of the machine and at its log.",
    "spawn_failed": "Look at the command in crewyard.toml and whether its program is installed.",
    "resource_exhaustion": "The machine or the agent's memory_limit_mb left it no room; end something or raise it.",
    "non_retryable_error": "Trying again alone does not help: answer its question, or change the task, first.",
    "syntax_error": "The agent program itself is broken; mend its file, then have the task recovered.",
    "authentication_failure": "Log the agent program in; it is tried again meanwhile.",
    "network_timeout": "The network did not answer; it is tried again after a while.",
    "corruption": "Look at the repository (`git fsck`) or the database before anything else.",
    "data_loss": "git misses what it should have; look at the repository (`git fsck`) before anything else.",
    "database_corrupt": "Stop the crew, and put a backup of the database in its place.",
    "deadlock": "Take one of the dependencies of the circle away.",
    "error_not_found": "It is resolved and forgotten, or never was; list those that are open.",
    "max_retries_exceeded": "It was tried as often as it may; change the task, or what it runs in, before the next.",
    # The evidence
    "no_evidence": "Its branch has no commit; if nothing was to be changed, the agent must report so.",
    "check_failed": "The task's check does not pass on its branch; its log shows the output.",
    "uncommitted_changes": "Something in its worktree cannot be committed as it is; look at the files that are named.",
    "wrong_branch": "Put its worktree back on its own branch.",
    # The worktree
    "worktree_exists": "A worktree is in the way; move it or remove it.",
    "branch_exists": "A branch is in the way; rename it or delete it.",
    "branch_not_found": "A branch that is needed is gone; bring it back.",
    "disk_full": "Make room on the disk.",
    "setup_failed": "Look at the commands in worktree.setup and at their output.",
    # The merge
    "merge_conflicts": "An agent, or you, must bring both sides together.",
    "merge_check_failed": "The work passes alone and fails on the merged tree; the check's log says where.",
    "hook_failed": "A git hook of the repository refused it; its output says why.",
    "dirty_working_directory": "Commit or stash the changes in the checkout that is named.",
    "git_error": "git says what it stumbles over; mend that.",
    # Messages
    "message_expired": "Nobody took it in time; send it to somebody who is there.",
    "given_up": "Its reader could do nothing with it.",
    "lease_lost": "Somebody else has it now; leave it to them.",
    "unknown_recipient": "Write to a name that the list of agents has.",
    "queue_full": "Let the recipients read what waits, then send again.",
    # What was asked for
    "invalid_input": "Correct what was given; nothing was changed.",
    "dependency_cycle": "Take one of these dependencies away.",
    "not_found": "Look at the list for the right name.",
    "task_not_found": "Look at the plan for the right id.",
    "agent_not_found": "Look at the list of agents for the right id.",
    "message_not_found": "It may have been cleared; look at the events.",
    "dispatch_not_found": "Look at the status for the right id.",
    "refused": "It cannot be done now; the message says why.",
    "illegal_transition": "Look how it stands first.",
    "already_assigned": "Leave it to the agent that has it.",
    "singleton_violation": "Wait for the other agent of that type, or end it.",
    "no_available_work": "Wait until a task is ready.",
    "task_not_completed": "Wait until its work is proven.",
    "not_merged": "Merge it first, or clean up with force, which keeps its work.",
    "still_in_use": "Wait for the agent that works there, or end it.",
    "not_authorized": "Ask the lead to do it.",
    # Crewyard itself
    "database_error": "Look at the disk and at the rights on the data folder.",
    "database_busy": "Another process writes; try again.",
    "database_outdated": "The next `crewyard start` or `run` brings it up to date, after a backup.",
    "internal_error": "That is a fault of Crewyard's; the server's log has more.",
}
