"""Brings a database file to the present schema: created from ``schema.sql``, or migrated step by step after a backup.

``PRAGMA user_version`` of each file says where it stands. A file lock keeps two processes from doing it at once, and
each step commits with its version, so a process that is killed in between leaves a database that the next one goes on
from.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import clock
from .errors import OldSchema, StoreError

SCHEMA = Path(__file__).parent.parent / "schema.sql"
METRICS_HEADING = "metrics.db: resource samples"


@dataclass(frozen=True)
class Migration:
    """The step of one file to ``version``: plain SQL, run in one transaction.

    Each file has steps of its own: a transaction over both is not atomic in WAL mode.
    """

    version: int
    sql: str
    database: str = "main"


SUPERVISION = """
ALTER TABLE agent_lifecycle ADD COLUMN kill_code            TEXT;
ALTER TABLE agent_lifecycle ADD COLUMN session_id           TEXT;
ALTER TABLE agent_lifecycle ADD COLUMN health               TEXT CHECK (health IN ('healthy', 'warning', 'stalled'));
CREATE INDEX main.agent_lifecycle_created ON agent_lifecycle (created_at);
CREATE INDEX main.agent_lifecycle_ended ON agent_lifecycle (agent_type, completed_at);
CREATE TABLE main.launch_hold (
    scope   TEXT NOT NULL,
    reason  TEXT NOT NULL
        CHECK (reason IN ('stopped', 'not_started', 'cpu', 'memory', 'disk', 'launch_rate', 'quota',
                          'failed_starts')),
    message TEXT NOT NULL,
    since   TEXT NOT NULL,
    until   TEXT,
    times   INTEGER NOT NULL DEFAULT 1,                         -- how often in a row
    PRIMARY KEY (scope, reason)
) STRICT, WITHOUT ROWID;
ALTER TABLE supervisor_lease ADD COLUMN until_monotonic REAL NOT NULL DEFAULT 0;
"""
MERGING = """
CREATE TABLE main.worktree_pool (
    pool_id     INTEGER PRIMARY KEY,
    path        TEXT NOT NULL UNIQUE,
    status      TEXT NOT NULL DEFAULT 'filling' CHECK (status IN ('filling', 'ready', 'taken')),
    commit_id   TEXT NOT NULL,                                  -- its files are this commit's once it is ready
    worktree_id INTEGER NOT NULL REFERENCES git_worktree_tracker (worktree_id), -- whose it was; taken: whose it becomes
    since       TEXT NOT NULL
) STRICT;
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
ALTER TABLE merge_request ADD COLUMN queued_since         TEXT;
ALTER TABLE merge_request ADD COLUMN strategy             TEXT CHECK (strategy IN ('ours', 'theirs'));
ALTER TABLE merge_request ADD COLUMN settled              TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(settled));
ALTER TABLE merge_request ADD COLUMN flaky                INTEGER NOT NULL DEFAULT 0 CHECK (flaky IN (0, 1));
ALTER TABLE merge_request ADD COLUMN approved_at          TEXT;
ALTER TABLE launch_hold RENAME TO launch_hold_2;
CREATE TABLE main.launch_hold (
    scope   TEXT NOT NULL,
    reason  TEXT NOT NULL
        CHECK (reason IN ('stopped', 'not_started', 'cpu', 'memory', 'disk', 'launch_rate', 'quota',
                          'failed_starts', 'merges_wait')),
    message TEXT NOT NULL,
    since   TEXT NOT NULL,
    until   TEXT,
    times   INTEGER NOT NULL DEFAULT 1,                         -- how often in a row
    PRIMARY KEY (scope, reason)
) STRICT, WITHOUT ROWID;
INSERT INTO launch_hold SELECT * FROM launch_hold_2;
DROP TABLE launch_hold_2;
"""
# What waits when this runs is kept for another week, whoever it is for.
MESSAGING = """
ALTER TABLE agent_message ADD COLUMN expires_at TEXT CHECK (expires_at IS NULL OR status IN ('pending', 'delivered'));
ALTER TABLE agent_message ADD COLUMN ended_at   TEXT;
UPDATE agent_message SET expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+7 days')
    WHERE status IN ('pending', 'delivered');
UPDATE agent_message SET visible_at = lease_until WHERE status = 'delivered';
UPDATE agent_message SET ended_at = coalesce(acknowledged_at, last_retry_at, created_at)
    WHERE status NOT IN ('pending', 'delivered');
CREATE INDEX main.agent_message_open ON agent_message (expires_at, from_agent) WHERE expires_at IS NOT NULL;
ALTER TABLE event RENAME TO event_3;
DROP INDEX event_subject;
DROP TRIGGER event_is_never_updated;
DROP TRIGGER event_is_never_deleted;
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
INSERT INTO event SELECT * FROM event_3;
DROP TABLE event_3;
"""
MONITORING = """
ALTER TABLE agent_lifecycle ADD COLUMN input_tokens         INTEGER;
ALTER TABLE agent_lifecycle ADD COLUMN output_tokens        INTEGER;
ALTER TABLE agent_lifecycle ADD COLUMN cost_usd             REAL;
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
"""
SAMPLING = """
ALTER TABLE metrics.metrics ADD COLUMN span_seconds             INTEGER NOT NULL DEFAULT 0;
ALTER TABLE metrics.metrics ADD COLUMN maximum                  REAL;
"""
LOG_INS = """
ALTER TABLE launch_hold RENAME TO launch_hold_5;
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
INSERT INTO launch_hold SELECT * FROM launch_hold_5;
DROP TABLE launch_hold_5;
"""
COUNTING = """
CREATE INDEX main.agent_message_unread ON agent_message (to_agent, status) WHERE status IN ('failed', 'expired');
"""
WORKFLOWS = """
ALTER TABLE agent_report ADD COLUMN output TEXT CHECK (output IS NULL OR json_valid(output));
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
CREATE UNIQUE INDEX main.queue_item_one_open ON queue_item (project_id, workflow)
    WHERE status IN ('waiting', 'working', 'held', 'review');
CREATE UNIQUE INDEX main.queue_item_one_per_worker ON queue_item (worker_id) WHERE status = 'working';
CREATE INDEX main.queue_item_waiting ON queue_item (workflow, priority, queued_at) WHERE status = 'waiting';
CREATE INDEX main.queue_item_project ON queue_item (project_id);
CREATE INDEX main.queue_item_ended ON queue_item (workflow, ended_at);
CREATE INDEX main.queue_item_queued ON queue_item (workflow, queued_at);
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
"""
MIGRATIONS: tuple[Migration, ...] = (
    Migration(2, SUPERVISION),
    Migration(3, MERGING),
    Migration(4, MESSAGING),
    Migration(5, MONITORING),
    Migration(5, SAMPLING, "metrics"),
    Migration(6, LOG_INS),
    Migration(7, COUNTING),
    Migration(8, WORKFLOWS),
)
VERSION = 8


def schema_parts() -> dict[str, str]:
    """``schema.sql``, by the name of the attached database that each part belongs to."""
    text = SCHEMA.read_text(encoding="utf-8")
    heading = text.index(METRICS_HEADING)
    start = text.rindex("\n", 0, heading)
    return {"main": text[:start], "metrics": text[start:]}


def bring_up_to_date(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS, version: int = VERSION
) -> None:
    """Create or migrate the database that ``connection`` has open, with ``metrics`` attached.

    The caller holds ``exclusive(path)``. Raises StoreError when the file was written by a newer Crewyard, or a step
    fails; then it is as it was before that step.
    """
    for name in ("main", "metrics"):
        if _version(connection, name) == 0:
            _apply(connection, path, name, schema_parts()[name], VERSION)
    have = _version(connection, "main")
    if have > version:
        raise _too_new(path, have, version)
    if have < version:
        back_up(connection, path, have)
    for step in migrations:
        if step.version > _version(connection, step.database):
            _apply(connection, path, step.database, step.sql, step.version)
    for name in ("main", "metrics"):  # the last versions may have brought the other file alone something
        if _version(connection, name) < version:
            connection.execute(f"PRAGMA {name}.user_version = {version}")


def make_samples(connection: sqlite3.Connection) -> None:
    """Lay out an empty ``metrics``, so that who reads finds no samples rather than no table."""
    connection.executescript(f"{schema_parts()['metrics']}\nPRAGMA metrics.user_version = {VERSION};")


def require_present(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError unless the database is of the schema that this version knows; changes nothing."""
    have = _version(connection, "main")
    if have > VERSION:
        raise _too_new(path, have, VERSION)
    if have < VERSION or _version(connection, "metrics") < VERSION:
        raise OldSchema(
            f"{path} is of schema {have}; this version works with {VERSION}.",
            hint="`crewyard start` or `crewyard run PLAN` brings it up to date, after a backup.",
        )


def back_up(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the database, as it is now, beside its file; returns the copy's path. The caller holds ``exclusive``."""
    stamp = clock.now().replace(":", "").replace(".", "")
    copy = path.with_name(f"{path.name}.v{version}-{stamp}.backup")
    part = copy.with_suffix(".part")  # what a kill leaves is taken for no backup
    for left in path.parent.glob(f"{path.name}.v*.part*"):  # by a process that was killed in here
        left.unlink()
    target = sqlite3.connect(part)
    try:
        part.chmod(0o600)
        connection.backup(target, name="main")
    finally:
        target.close()
    part.rename(copy)
    return copy


def _too_new(path: Path, have: int, version: int) -> StoreError:
    return StoreError(
        f"{path} was written by a newer Crewyard (schema {have}, this one knows {version}).",
        hint="Upgrade Crewyard, or put the backup that lies beside the file in its place.",
    )


def _version(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}.user_version").fetchone()[0])


def _apply(connection: sqlite3.Connection, path: Path, name: str, sql: str, version: int) -> None:
    script = f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA {name}.user_version = {version};\nCOMMIT;"
    try:
        connection.executescript(script)
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise StoreError(
            f"{path} could not be brought to schema {version}: {error}",
            hint="It is as it was before; a backup lies beside it where there was anything in it.",
        ) from error


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One process at a time in here, for the database at ``path``."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode=0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
