-- Crewyard's whole database, readable from top to bottom (requirements R-031, R-032, section 4).
--
-- Two files: orchestrator.db (main) and metrics.db, attached as `metrics`. Plan and execution share one file so that
-- both change in one transaction (contract 7). Times are ISO-8601 UTC text with milliseconds and `Z`, which
-- julianday() reads. Every change of a `status` column is also a row of `event`, written in the same transaction.
--
-- A change here needs a migration in server/migrate.py; a test shows that both give the same database.

-- ------------------------------------------------------------------------------------------------ the plan

CREATE TABLE main.roadmap_priority (
    id                        TEXT PRIMARY KEY,
    item_type                 TEXT NOT NULL DEFAULT 'priority',
    number                    TEXT,
    title                     TEXT NOT NULL DEFAULT '',
    status                    TEXT NOT NULL DEFAULT 'planned',
    spec_id                   TEXT,
    content                   TEXT NOT NULL DEFAULT '',
    estimated_hours           REAL,
    dependencies              TEXT,
    priority_order            INTEGER UNIQUE,
    implementation_started_at TEXT,
    updated_at                TEXT,
    updated_by                TEXT
) STRICT;

CREATE TABLE main.specs_specification (
    id         TEXT PRIMARY KEY,
    title      TEXT NOT NULL DEFAULT '',
    content    TEXT NOT NULL DEFAULT '',
    spec_type  TEXT NOT NULL DEFAULT 'technical',
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    updated_by TEXT
) STRICT;

-- `remaining_hours` is what a dispatch orders by; one that was rehearsed with its agents has found it that way.
CREATE TABLE main.specs_task (
    task_id         TEXT PRIMARY KEY,
    spec_id         TEXT REFERENCES specs_specification (id),
    priority_id     TEXT REFERENCES roadmap_priority (id),
    title           TEXT NOT NULL,
    description     TEXT NOT NULL DEFAULT '',
    agent_type      TEXT,                                       -- NULL: the configured default
    status          TEXT NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'ready', 'assigned', 'in_progress', 'completed', 'failed', 'cancelled')),
    priority        INTEGER NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),  -- 1 is the highest (C-37)
    estimated_hours REAL NOT NULL DEFAULT 1.0 CHECK (estimated_hours > 0),
    remaining_hours REAL NOT NULL DEFAULT 1.0,                  -- longest path from here to a leaf, this task included
    unmet_blockers  INTEGER NOT NULL DEFAULT 0 CHECK (unmet_blockers >= 0),        -- hard edges not yet completed
    files           TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(files)),
    check_command   TEXT CHECK (check_command IS NULL OR json_valid(check_command)),
    position        INTEGER NOT NULL DEFAULT 0,                 -- order in its plan, for people only
    assigned_agent  TEXT,
    needs_review    INTEGER NOT NULL DEFAULT 0 CHECK (needs_review IN (0, 1)),
    error_code      TEXT,
    error_message   TEXT,
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    started_at      TEXT,
    completed_at    TEXT,
    CHECK (status <> 'ready' OR unmet_blockers = 0),
    CHECK (status <> 'completed' OR completed_at IS NOT NULL),
    CHECK (status <> 'failed' OR error_code IS NOT NULL)
) STRICT;

-- The ready order of design 4; the index holds ready rows only, so that reading it does not depend on the plan's size.
CREATE INDEX main.specs_task_ready ON specs_task (priority, remaining_hours DESC, estimated_hours, task_id)
    WHERE status = 'ready';
CREATE INDEX main.specs_task_status ON specs_task (status);

CREATE TABLE main.specs_task_dependency (
    dependency_id     INTEGER PRIMARY KEY,
    blocking_task_id  TEXT NOT NULL REFERENCES specs_task (task_id),
    dependent_task_id TEXT NOT NULL REFERENCES specs_task (task_id),
    dependency_type   TEXT NOT NULL DEFAULT 'hard' CHECK (dependency_type IN ('hard', 'soft')),
    dependency_status TEXT NOT NULL DEFAULT 'pending' CHECK (dependency_status IN ('pending', 'completed')),
    reason            TEXT,
    created_at        TEXT NOT NULL,
    resolved_at       TEXT,
    CHECK (blocking_task_id <> dependent_task_id),
    CHECK ((dependency_status = 'completed') = (resolved_at IS NOT NULL)),
    UNIQUE (dependent_task_id, blocking_task_id)
) STRICT;
CREATE INDEX main.specs_task_dependency_blocking ON specs_task_dependency (blocking_task_id);

-- -------------------------------------------------------------------------------------------- the execution

-- A scope of tasks that the supervisor works off at a degree of parallelism (contract 3, assign with follow).
CREATE TABLE main.dispatch (
    dispatch_id  TEXT PRIMARY KEY,
    scope_key    TEXT NOT NULL,                                 -- hash of the task ids: the same plan joins its dispatch
    status       TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'completed', 'cancelled')),
    max_parallel INTEGER NOT NULL CHECK (max_parallel > 0),
    agent_type   TEXT,                                          -- overrides the tasks' own where given
    follow       INTEGER NOT NULL DEFAULT 1 CHECK (follow IN (0, 1)),
    created_by   TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    ended_at     TEXT,
    CHECK ((status IN ('completed', 'cancelled')) = (ended_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX main.dispatch_one_per_scope ON dispatch (scope_key) WHERE status IN ('active', 'paused');

CREATE TABLE main.dispatch_task (
    dispatch_id TEXT NOT NULL REFERENCES dispatch (dispatch_id),
    task_id     TEXT NOT NULL REFERENCES specs_task (task_id),
    PRIMARY KEY (dispatch_id, task_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX main.dispatch_task_task ON dispatch_task (task_id);

-- Processes that wait for a dispatch to end. While another one lives, an interrupted `run` leaves the agents alone.
CREATE TABLE main.dispatch_watcher (
    dispatch_id TEXT NOT NULL REFERENCES dispatch (dispatch_id),
    pid         INTEGER NOT NULL,
    start_time  TEXT NOT NULL,
    boot_id     TEXT NOT NULL,
    since       TEXT NOT NULL,
    PRIMARY KEY (dispatch_id, pid, start_time, boot_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE main.orchestrator_task (
    orchestrator_task_id     TEXT PRIMARY KEY,
    task_id                  TEXT NOT NULL REFERENCES specs_task (task_id),
    dispatch_id              TEXT REFERENCES dispatch (dispatch_id),
    spec_id                  TEXT,
    agent_type               TEXT NOT NULL,
    status                   TEXT NOT NULL DEFAULT 'assigned'
        CHECK (status IN ('assigned', 'running', 'completed', 'merged', 'failed', 'cancelled')),
    priority                 INTEGER NOT NULL,
    estimated_hours          REAL,
    assigned_agent           TEXT,
    worktree_path            TEXT,
    branch_name              TEXT,
    retry_count              INTEGER NOT NULL DEFAULT 0,        -- restarts after failures
    rework_count             INTEGER NOT NULL DEFAULT 0,        -- sent back by a conflict or a failed merge check
    not_before               TEXT,                              -- a due restart is a row with a time, not a sleep
    next_prompt              TEXT,                              -- what the next attempt must know of the last one
    no_change                INTEGER NOT NULL DEFAULT 0 CHECK (no_change IN (0, 1)),
    error_code               TEXT,
    error_message            TEXT,
    orchestrator_instance_id TEXT,
    metadata                 TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    assigned_at              TEXT NOT NULL,
    created_at               TEXT NOT NULL,
    started_at               TEXT,
    completed_at             TEXT,
    CHECK (status <> 'running' OR assigned_agent IS NOT NULL),
    CHECK (status <> 'failed' OR error_code IS NOT NULL)
) STRICT;
-- One assignment a task that is not given up (G-17, L-18).
CREATE UNIQUE INDEX main.orchestrator_task_one_active ON orchestrator_task (task_id)
    WHERE status NOT IN ('failed', 'cancelled');
CREATE INDEX main.orchestrator_task_status ON orchestrator_task (status);

-- `kill_code` is the error that being ended counts as; NULL where a person asked for it, which is no failure. `session_id`
-- names the conversation that a restart resumes. `health` is what the last health check said. Tokens and cost are what the
-- program reported of itself; NULL where it reports none.
CREATE TABLE main.agent_lifecycle (
    agent_id             TEXT PRIMARY KEY,
    agent_type           TEXT NOT NULL,
    kind                 TEXT NOT NULL,
    task_id              TEXT REFERENCES specs_task (task_id),
    orchestrator_task_id TEXT REFERENCES orchestrator_task (orchestrator_task_id),
    status               TEXT NOT NULL DEFAULT 'starting'
        CHECK (status IN ('starting', 'running', 'completed', 'failed', 'killed', 'timeout', 'lost')),
    attempt              INTEGER NOT NULL DEFAULT 1,
    workspace            TEXT NOT NULL,                         -- absolute path it works in
    run_dir              TEXT NOT NULL,
    term                 INTEGER NOT NULL,                      -- the lease under which it was launched
    pid                  INTEGER,                               -- identity is (pid, start time, boot id), never a pid
    pid_start_time       TEXT,
    runner_pid           INTEGER,
    runner_start_time    TEXT,
    boot_id              TEXT,
    timeout_seconds      REAL,
    memory_limit_mb      INTEGER,
    token_hash           TEXT UNIQUE,
    kill_requested_at    TEXT,
    kill_reason          TEXT,
    kill_grace_seconds   REAL,
    kill_outcome         TEXT CHECK (kill_outcome IN ('restart', 'release', 'fail')),  -- what becomes of its task
    created_at           TEXT NOT NULL,
    started_at           TEXT,
    last_heartbeat       TEXT,
    last_output_at       TEXT,
    completed_at         TEXT,
    exit_code            INTEGER,
    exit_signal          INTEGER,
    error_message        TEXT,
    cpu_percent          REAL,
    memory_mb            REAL,
    duration_ms          INTEGER,
    metadata             TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    kill_code            TEXT,
    session_id           TEXT,
    health               TEXT CHECK (health IN ('healthy', 'warning', 'stalled')),
    input_tokens         INTEGER,
    output_tokens        INTEGER,
    cost_usd             REAL,
    CHECK (status <> 'running' OR (pid IS NOT NULL AND started_at IS NOT NULL)),
    CHECK ((status IN ('starting', 'running')) = (completed_at IS NULL))
) STRICT;
-- One live agent per type and workspace (C-15).
CREATE UNIQUE INDEX main.agent_lifecycle_singleton ON agent_lifecycle (agent_type, workspace)
    WHERE status IN ('starting', 'running');
CREATE INDEX main.agent_lifecycle_status ON agent_lifecycle (status);
CREATE INDEX main.agent_lifecycle_task ON agent_lifecycle (task_id);
CREATE INDEX main.agent_lifecycle_created ON agent_lifecycle (created_at);
CREATE INDEX main.agent_lifecycle_ended ON agent_lifecycle (agent_type, completed_at);

-- Why no agent is launched for now, of one type (`scope`) or of any ('*'). `until` NULL: until somebody lifts it.
CREATE TABLE main.launch_hold (
    scope   TEXT NOT NULL,
    reason  TEXT NOT NULL
        CHECK (reason IN ('stopped', 'not_started', 'cpu', 'memory', 'disk', 'launch_rate', 'quota',
                          'failed_starts', 'not_logged_in', 'merges_wait')),
    message TEXT NOT NULL,
    since   TEXT NOT NULL,
    until   TEXT,
    times   INTEGER NOT NULL DEFAULT 1,                         -- how often in a row
    PRIMARY KEY (scope, reason)
) STRICT, WITHOUT ROWID;

-- What an agent says of its own work (contract 3, report). Its word is heard; evidence decides.
-- `output` is what a stage of `[workflows]` asks for.
CREATE TABLE main.agent_report (
    report_id INTEGER PRIMARY KEY,
    agent_id  TEXT NOT NULL REFERENCES agent_lifecycle (agent_id),
    kind      TEXT NOT NULL CHECK (kind IN ('progress', 'complete', 'failed', 'blocked', 'question')),
    summary   TEXT NOT NULL DEFAULT '',
    no_change INTEGER NOT NULL DEFAULT 0 CHECK (no_change IN (0, 1)),
    at        TEXT NOT NULL,
    output    TEXT CHECK (output IS NULL OR json_valid(output))
) STRICT;
CREATE INDEX main.agent_report_agent ON agent_report (agent_id);

CREATE TABLE main.agent_restart_log (
    restart_id      INTEGER PRIMARY KEY,
    agent_id        TEXT NOT NULL REFERENCES agent_lifecycle (agent_id),
    new_agent_id    TEXT REFERENCES agent_lifecycle (agent_id),
    task_id         TEXT,
    reason          TEXT NOT NULL,
    attempt_number  INTEGER NOT NULL,
    backoff_seconds REAL NOT NULL,
    due_at          TEXT NOT NULL,
    timestamp       TEXT NOT NULL
) STRICT;
CREATE INDEX main.agent_restart_log_task ON agent_restart_log (task_id);

-- What went wrong, one row an occurrence, in the transaction that records what it is about (R-158 to R-162). `recovering`:
-- another attempt, a rework or a wait follows by itself; `escalated`: a person is needed. `subject` names a circle of tasks
-- or agents. `recoveries` counts those that somebody asked for.
CREATE TABLE main.error_events (
    error_id         TEXT PRIMARY KEY,
    status           TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'recovering', 'escalated', 'resolved')),
    error_class      TEXT NOT NULL,
    error_code       TEXT NOT NULL,
    severity         TEXT NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    retryable        INTEGER NOT NULL CHECK (retryable IN (0, 1)),
    recovery_action  TEXT NOT NULL,
    message          TEXT NOT NULL,
    agent_id         TEXT REFERENCES agent_lifecycle (agent_id),
    task_id          TEXT REFERENCES specs_task (task_id),
    subject          TEXT,
    files            TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(files)),
    attempt          INTEGER NOT NULL DEFAULT 0,
    recoveries       INTEGER NOT NULL DEFAULT 0,
    escalation_level TEXT CHECK (escalation_level IN ('low', 'medium', 'high', 'critical')),
    timestamp        TEXT NOT NULL,
    resolved_at      TEXT,
    resolution       TEXT,
    CHECK ((status = 'resolved') = (resolved_at IS NOT NULL))
) STRICT;
CREATE INDEX main.error_events_task ON error_events (task_id, timestamp);
CREATE INDEX main.error_events_open ON error_events (timestamp) WHERE status <> 'resolved';

CREATE TABLE main.git_worktree_tracker (
    worktree_id   INTEGER PRIMARY KEY,
    task_id       TEXT NOT NULL REFERENCES specs_task (task_id),
    branch_name   TEXT NOT NULL,
    worktree_path TEXT NOT NULL,
    status        TEXT NOT NULL DEFAULT 'creating' CHECK (status IN ('creating', 'active', 'merged', 'cleaned')),
    base_branch   TEXT NOT NULL,
    base_commit   TEXT NOT NULL,
    salvage_ref   TEXT,
    kept_because  TEXT,                                         -- why cleanup left it standing
    cleanup       TEXT CHECK (cleanup IN ('safe', 'force')),    -- asked for; the supervisor carries it out
    freed_mb      REAL,
    created_at    TEXT NOT NULL,
    completed_at  TEXT,
    cleaned_at    TEXT,
    CHECK ((status = 'cleaned') = (cleaned_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX main.git_worktree_tracker_branch ON git_worktree_tracker (branch_name) WHERE status <> 'cleaned';
CREATE UNIQUE INDEX main.git_worktree_tracker_path ON git_worktree_tracker (worktree_path) WHERE status <> 'cleaned';
CREATE INDEX main.git_worktree_tracker_task ON git_worktree_tracker (task_id);

-- Clean worktrees of finished tasks, on no branch, for the next tasks (design 6). Nobody has work in them.
CREATE TABLE main.worktree_pool (
    pool_id     INTEGER PRIMARY KEY,
    path        TEXT NOT NULL UNIQUE,
    status      TEXT NOT NULL DEFAULT 'filling' CHECK (status IN ('filling', 'ready', 'taken')),
    commit_id   TEXT NOT NULL,                                  -- its files are this commit's once it is ready
    worktree_id INTEGER NOT NULL REFERENCES git_worktree_tracker (worktree_id), -- whose it was; taken: whose it becomes
    since       TEXT NOT NULL
) STRICT;

-- `queued_since` is that of the task's first request: who has waited longest is next. `strategy` is a person's word on
-- what still conflicts; `settled` tells which conflicts were resolved without one. `flaky`: its check failed and passed
-- on one and the same tree.
CREATE TABLE main.merge_request (
    merge_id             INTEGER PRIMARY KEY,
    task_id              TEXT NOT NULL REFERENCES specs_task (task_id),
    orchestrator_task_id TEXT NOT NULL REFERENCES orchestrator_task (orchestrator_task_id),
    branch_name          TEXT NOT NULL,
    target_branch        TEXT NOT NULL,
    head_commit          TEXT NOT NULL,
    status               TEXT NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'checking', 'merged', 'conflicted', 'rejected', 'cancelled')),
    candidate_commit     TEXT,                                  -- written before the branch is moved to it
    merge_commit         TEXT,
    approved_by          TEXT,
    attempts             INTEGER NOT NULL DEFAULT 0,
    not_before           TEXT,
    files_changed        INTEGER,
    insertions           INTEGER,
    deletions            INTEGER,
    conflicted_files     TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(conflicted_files)),
    error_code           TEXT,
    error_message        TEXT,
    created_at           TEXT NOT NULL,
    ended_at             TEXT,
    queued_since         TEXT,
    strategy             TEXT CHECK (strategy IN ('ours', 'theirs')),
    settled              TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(settled)),
    flaky                INTEGER NOT NULL DEFAULT 0 CHECK (flaky IN (0, 1)),
    approved_at          TEXT,
    CHECK (status <> 'merged' OR merge_commit IS NOT NULL),
    CHECK ((status IN ('queued', 'checking')) = (ended_at IS NULL))
) STRICT;
-- This index is the merge queue's mutual exclusion, across processes (design 3).
CREATE UNIQUE INDEX main.merge_request_one_checking ON merge_request (target_branch) WHERE status = 'checking';
CREATE UNIQUE INDEX main.merge_request_one_open ON merge_request (task_id) WHERE status IN ('queued', 'checking');
CREATE INDEX main.merge_request_task ON merge_request (task_id);
CREATE INDEX main.merge_request_queue ON merge_request (target_branch, merge_id) WHERE status = 'queued';

-- Pairs of branches that would collide, as the radar last saw them (design 6). `later_task` began later, or is still to
-- be merged where the other is merged already.
CREATE TABLE main.branch_conflict (
    earlier_task TEXT NOT NULL REFERENCES specs_task (task_id),
    later_task   TEXT NOT NULL REFERENCES specs_task (task_id),
    earlier_head TEXT NOT NULL,
    later_head   TEXT NOT NULL,
    files        TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(files)),  -- none: these two heads merge cleanly
    found_at     TEXT NOT NULL,
    told_at      TEXT,
    PRIMARY KEY (earlier_task, later_task)
) STRICT, WITHOUT ROWID;

-- ------------------------------------------------------------------------------------- messages and bookkeeping

-- `visible_at` of a message that was delivered is when it is delivered again; `expires_at` is when it ends although nobody
-- took it, NULL once it has ended.
CREATE TABLE main.agent_message (
    id              INTEGER PRIMARY KEY,
    message_id      TEXT NOT NULL UNIQUE,
    from_agent      TEXT NOT NULL,
    to_agent        TEXT NOT NULL,                              -- an agent id or an agent type
    message_type    TEXT NOT NULL,
    content         TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(content)),
    priority        INTEGER NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    status          TEXT NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'delivered', 'acknowledged', 'failed', 'expired')),
    broadcast_id    TEXT,
    claimed_by      TEXT,
    lease_until     TEXT,
    visible_at      TEXT,                                       -- a redelivery waits until then
    delivery_count  INTEGER NOT NULL DEFAULT 0,
    retry_count     INTEGER NOT NULL DEFAULT 0,
    max_retries     INTEGER NOT NULL DEFAULT 3,
    last_retry_at   TEXT,
    error_message   TEXT,
    created_at      TEXT NOT NULL,
    delivered_at    TEXT,
    acknowledged_at TEXT,
    expires_at      TEXT CHECK (expires_at IS NULL OR status IN ('pending', 'delivered')),
    ended_at        TEXT,
    CHECK (status <> 'delivered' OR (lease_until IS NOT NULL AND delivery_count > 0)),
    CHECK ((status = 'acknowledged') = (acknowledged_at IS NOT NULL))
) STRICT;
CREATE INDEX main.agent_message_inbox ON agent_message (to_agent, priority, id) WHERE status IN ('pending', 'delivered');
CREATE INDEX main.agent_message_lease ON agent_message (lease_until) WHERE status = 'delivered';
-- What expires, and how many wait. With the status in its condition SQLite would look at each row.
CREATE INDEX main.agent_message_open ON agent_message (expires_at, from_agent) WHERE expires_at IS NOT NULL;
-- Nearly all were acknowledged. Those are counted as what the others leave of all, so that only the others are indexed.
CREATE INDEX main.agent_message_unread ON agent_message (to_agent, status) WHERE status IN ('failed', 'expired');

-- Document 004's queue and its state names over the one message store (R-061, C-07).
CREATE VIEW main.tasks AS
SELECT id, from_agent AS sender, to_agent AS recipient, message_type AS type, content, priority, created_at,
       acknowledged_at AS completed_at,
       CASE status WHEN 'delivered' THEN 'in_progress' WHEN 'acknowledged' THEN 'completed'
                   WHEN 'expired' THEN 'failed' ELSE status END AS status
FROM agent_message;

-- ----------------------------------------------------------------------- workflows: projects, queues and workers

-- What flows through the stages of `[workflows]` (R-200). `stage` is the one that it has come to last.
CREATE TABLE main.project (
    project_id     TEXT PRIMARY KEY,
    title          TEXT NOT NULL,
    input          TEXT NOT NULL,
    source         TEXT NOT NULL CHECK (source IN ('text', 'file', 'batch', 'issue')),
    status         TEXT NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'held', 'review', 'completed', 'rejected')),
    stage          TEXT NOT NULL,
    priority       INTEGER NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),  -- stays with it (R-209)
    kind           TEXT NOT NULL DEFAULT '',
    complexity     TEXT NOT NULL DEFAULT 'standard' CHECK (complexity IN ('simple', 'standard', 'complex')),
    location       TEXT NOT NULL DEFAULT '',
    repository_url TEXT,
    deployment_url TEXT,
    created_by     TEXT NOT NULL,
    created_at     TEXT NOT NULL,
    updated_at     TEXT NOT NULL,
    completed_at   TEXT,
    CHECK ((status IN ('completed', 'rejected')) = (completed_at IS NOT NULL))
) STRICT;
CREATE INDEX main.project_status ON project (status);

-- A place for one agent at a time (R-210). What it may do without its project's stage is not known here: `[workflows]` says.
CREATE TABLE main.worker (
    worker_id        TEXT PRIMARY KEY,
    workflow         TEXT NOT NULL,
    agent_type       TEXT NOT NULL,
    status           TEXT NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'busy', 'offline', 'retired')),
    specialities     TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(specialities)),
    location         TEXT NOT NULL DEFAULT '',
    origin           TEXT NOT NULL DEFAULT 'roster' CHECK (origin IN ('roster', 'scaled', 'emergency')),
    until            TEXT,                                      -- of an emergency: it goes then, once idle
    since            TEXT NOT NULL,
    last_assigned_at TEXT,
    offline_since    TEXT,
    restarted_at     TEXT,                                      -- when a restart was tried last
    retired_at       TEXT,
    CHECK ((status = 'offline') = (offline_since IS NOT NULL)),
    CHECK ((status = 'retired') = (retired_at IS NOT NULL))
) STRICT;
CREATE INDEX main.worker_workflow ON worker (workflow, status);

-- A project in a workflow's queue. It becomes a task when a worker gets it, and goes on as that task does.
CREATE TABLE main.queue_item (
    item_id        INTEGER PRIMARY KEY,
    project_id     TEXT NOT NULL REFERENCES project (project_id),
    workflow       TEXT NOT NULL,
    status         TEXT NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'working', 'held', 'review', 'done', 'rejected')),
    priority       INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 10),
    wanted_worker  TEXT REFERENCES worker (worker_id),          -- by hand: waits for this one (R-206)
    worker_id      TEXT REFERENCES worker (worker_id),          -- who has it, or had it last
    task_id        TEXT UNIQUE REFERENCES specs_task (task_id),
    rework_count   INTEGER NOT NULL DEFAULT 0,                  -- how often it came back out of review (G-10)
    review_note    TEXT,                                        -- what the review of it said, for who gets it next
    output         TEXT CHECK (output IS NULL OR json_valid(output)),
    error_code     TEXT,
    error_message  TEXT,
    queued_at      TEXT NOT NULL,
    stepped_back_at TEXT,                                       -- by a triage: waits as if it had come then (R-225)
    started_at     TEXT,
    ended_at       TEXT,
    handed_over_at TEXT,                                        -- when the next stage got it
    CHECK (status <> 'working' OR (worker_id IS NOT NULL AND task_id IS NOT NULL)),
    CHECK (status <> 'review' OR error_code IS NOT NULL),
    CHECK ((status IN ('done', 'rejected')) = (ended_at IS NOT NULL))
) STRICT;
-- One place a project in each queue at a time; nothing is worked on by two (G-17).
CREATE UNIQUE INDEX main.queue_item_one_open ON queue_item (project_id, workflow)
    WHERE status IN ('waiting', 'working', 'held', 'review');
CREATE UNIQUE INDEX main.queue_item_one_per_worker ON queue_item (worker_id) WHERE status = 'working';
CREATE INDEX main.queue_item_waiting ON queue_item (workflow, priority, queued_at) WHERE status = 'waiting';
CREATE INDEX main.queue_item_project ON queue_item (project_id);
CREATE INDEX main.queue_item_ended ON queue_item (workflow, ended_at);
CREATE INDEX main.queue_item_queued ON queue_item (workflow, queued_at);

-- From when to when a worker had an item: what utilisation, durations and forecasts are counted from (G-12).
CREATE TABLE main.work_spell (
    spell_id  INTEGER PRIMARY KEY,
    item_id   INTEGER NOT NULL REFERENCES queue_item (item_id),
    worker_id TEXT NOT NULL REFERENCES worker (worker_id),
    workflow  TEXT NOT NULL,
    began_at  TEXT NOT NULL,
    ended_at  TEXT,
    outcome   TEXT CHECK (outcome IN ('done', 'review', 'released', 'failed_over', 'held', 'rejected')),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT;
CREATE UNIQUE INDEX main.work_spell_open ON work_spell (item_id) WHERE ended_at IS NULL;
CREATE INDEX main.work_spell_workflow ON work_spell (workflow, ended_at);
CREATE INDEX main.work_spell_worker ON work_spell (worker_id);
CREATE INDEX main.work_spell_item ON work_spell (item_id);

-- What administrators were warned of, from its begin to its end (R-223); one of a kind and subject at a time.
CREATE TABLE main.workflow_alert (
    alert_id INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    level    TEXT NOT NULL CHECK (level IN ('critical', 'high', 'warning', 'info')),
    cause    TEXT NOT NULL,
    facts    TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(facts)),
    begun_at TEXT NOT NULL,
    ended_at TEXT
) STRICT;
CREATE UNIQUE INDEX main.workflow_alert_open ON workflow_alert (kind, subject) WHERE ended_at IS NULL;

CREATE TABLE main.incident (
    incident_id INTEGER PRIMARY KEY,
    cause       TEXT NOT NULL,
    details     TEXT NOT NULL DEFAULT '',
    facts       TEXT NOT NULL CHECK (json_valid(facts)),        -- how things stood, and what was done
    opened_by   TEXT NOT NULL,
    at          TEXT NOT NULL
) STRICT;

CREATE TABLE main.feedback (
    feedback_id INTEGER PRIMARY KEY,
    project_id  TEXT NOT NULL REFERENCES project (project_id),
    rating      TEXT NOT NULL CHECK (rating IN ('positive', 'neutral', 'negative')),
    comment     TEXT NOT NULL DEFAULT '',
    given_by    TEXT NOT NULL,
    at          TEXT NOT NULL
) STRICT;

-- When a project's stage was said to end, and when it did (R-222).
CREATE TABLE main.forecast (
    forecast_id INTEGER PRIMARY KEY,
    project_id  TEXT NOT NULL REFERENCES project (project_id),
    workflow    TEXT NOT NULL,
    p50_at      TEXT NOT NULL,
    p90_at      TEXT NOT NULL,
    samples     INTEGER NOT NULL,
    made_at     TEXT NOT NULL,
    actual_at   TEXT
) STRICT;
CREATE INDEX main.forecast_open ON forecast (project_id, workflow) WHERE actual_at IS NULL;

-- Append-only: every change of state, in the transaction that made it (CFR-014, R-019).
CREATE TABLE main.event (
    event_id     INTEGER PRIMARY KEY,                          -- grows: none is ever deleted
    at           TEXT NOT NULL,
    actor        TEXT NOT NULL,
    subject_type TEXT NOT NULL,
    subject_id   TEXT NOT NULL,
    kind         TEXT NOT NULL,
    from_state   TEXT,
    to_state     TEXT,
    data         TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(data))
) STRICT;
CREATE INDEX main.event_subject ON event (subject_type, subject_id);
CREATE TRIGGER main.event_is_never_updated BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER main.event_is_never_deleted BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- One row: which server's supervisor acts. `term` fences whatever an old holder still wants to write. What counts is
-- `until_monotonic`, seconds of the clock that all processes of one boot share; `until` is for people.
CREATE TABLE main.supervisor_lease (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    holder     TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    start_time TEXT NOT NULL,
    boot_id    TEXT NOT NULL,
    term       INTEGER NOT NULL,
    until      TEXT NOT NULL,
    until_monotonic REAL NOT NULL DEFAULT 0
) STRICT;

-- Duration of each piece of work, by agent and kind of work (R-062).
CREATE TABLE main.metrics (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    agent       TEXT NOT NULL,
    task_type   TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    timestamp   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
CREATE INDEX main.metrics_agent ON metrics (agent, task_type);
CREATE INDEX main.metrics_timestamp ON metrics (timestamp);

-- Per task: worktree, branch and merge (R-051, C-22). Derived, never written.
CREATE VIEW main.orchestrator_state AS
SELECT w.task_id, w.worktree_path, w.branch_name,
       CASE w.status WHEN 'active' THEN 'created' ELSE w.status END AS status,
       w.created_at, w.base_commit AS git_commit_ref, m.ended_at AS merged_at, m.merge_commit AS merge_commit_ref,
       w.cleaned_at, o.orchestrator_instance_id
FROM git_worktree_tracker AS w
LEFT JOIN merge_request AS m ON m.merge_id = (
    SELECT max(merge_id) FROM merge_request
    WHERE task_id = w.task_id AND branch_name = w.branch_name AND status = 'merged')
LEFT JOIN orchestrator_task AS o ON o.orchestrator_task_id = (
    SELECT orchestrator_task_id FROM orchestrator_task WHERE task_id = w.task_id ORDER BY created_at DESC LIMIT 1);

-- ---------------------------------------------------------------------------------- metrics.db: resource samples

-- `span_seconds` is 0 for what was seen at one moment; else the row stands for all of that time: its mean and `maximum`.
CREATE TABLE metrics.metrics (
    metric_id                INTEGER PRIMARY KEY,
    timestamp                TEXT NOT NULL,
    metric_type              TEXT NOT NULL,
    value                    REAL NOT NULL,
    unit                     TEXT NOT NULL,
    agent_id                 TEXT,
    orchestrator_instance_id TEXT,
    span_seconds             INTEGER NOT NULL DEFAULT 0,
    maximum                  REAL
) STRICT;
CREATE INDEX metrics.metrics_by_time ON metrics (metric_type, timestamp);
