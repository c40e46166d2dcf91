"""Starts an agent for an assignment: worktree, prompt, runner. Every step can be done again after a crash."""

import json
import logging
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import (
    agents,
    assignments,
    attempts,
    backoff,
    clock,
    credentials,
    enclosures,
    groundwork,
    hidden,
    holds,
    journals,
    kinds,
    launches,
    merges,
    outputs,
    prompts,
    provision,
    rework,
    runners,
    saving,
    steering,
    tasks,
    workspaces,
    worktrees,
)
from .crew import ACTOR, Crew
from .errors import ConfigurationError, GitError, SpawnFailed, SteersAgents, UncommittedChanges, WrongBranch
from .kinds import Launch
from .sections import Agent
from .stages import Unmerged
from .store import Row, Transaction
from .worktrees import Worktree

log = logging.getLogger(__name__)

BEAT_SECONDS = 15.0
BEATS_BEFORE_WARNING = 4


def launch(crew: Crew, assignment_id: str) -> None:
    """Start an agent on an assignment that waits for one. A failure is an attempt that failed."""
    assignment = crew.store.read(assignments.get, assignment_id)
    if not crew.store.read(assignments.is_waiting, assignment_id):  # the job before this one has launched it
        return
    if _needs_its_merge_only(crew, assignment):
        return
    try:
        crew.settings.agent(assignment["agent_type"])
        with ThreadPoolExecutor(1) as meanwhile:
            building_on = meanwhile.submit(groundwork.of_task, crew, assignment["task_id"])
            worktree, conflicts = _place(crew, assignment)
        built_on = building_on.result()
    except (SteersAgents, WrongBranch) as error:
        _give_up(crew, assignment_id, error)
        return
    except (GitError, ConfigurationError, OSError) as error:
        if crew.stopping.is_set():  # what was cut off is begun again
            return
        crew.write(
            attempts.failed,
            assignment_id,
            code=_code_of(error),
            message=f"It could not be started: {error}",
            tail="",
            exited_at=clock.now(),
            policy=restart_policy(crew),
            now=clock.now(),
            actor=ACTOR,
        )
        return
    token = secrets.token_urlsafe(32)
    planned = crew.write(_plan, crew, assignment_id, worktree, conflicts, built_on, token)
    if planned is None:
        return
    row, prompt, checks = planned
    try:
        _write_run_folder(crew, row, worktree, prompt, checks, token)
        crew.require_lease()
        identity = crew.runners.start(Path(row["run_dir"]))
    except (SpawnFailed, OSError) as error:
        log.warning("%s cannot be started: %s", row["agent_id"], error)
        if journals.give_up_launch(Path(row["run_dir"])):
            credentials.remove(Path(row["run_dir"]))
            crew.write(_not_launched, row, str(error), restart_policy(crew))
        return
    if identity is not None:
        crew.store.run(
            launches.runner_started,
            row["agent_id"],
            pid=identity.pid,
            start_time=identity.start_time,
            boot_id=identity.boot_id,
        )


def _place(crew: Crew, assignment: Row) -> tuple[Worktree, list[Unmerged]]:
    """The worktree that the agent is to work in, and what conflicts in the merge that it is to end there."""
    worktree = provision.provide_worktree(crew, assignment["task_id"])
    saving.remove_stale_locks(crew.repository, Path(worktree.path))  # of the last attempt's git, killed with it
    steering.require_none_at(crew, assignment["task_id"], Path(worktree.path))
    return worktree, rework.bring_in_target(crew, assignment, worktree)


def _give_up(crew: Crew, assignment_id: str, error: SteersAgents | WrongBranch) -> None:
    """No agent can be started in its worktree as it stands (C-13): that is for a person to mend."""
    crew.write(
        assignments.give_up,
        assignment_id,
        code=error.code,
        message=f"{error.message} {error.hint}".strip(),
        review=True,
        now=clock.now(),
        actor=ACTOR,
    )


def _needs_its_merge_only(crew: Crew, assignment: Row) -> bool:
    """Whether proven work was given up for what was in the way of its merge alone; then that is tried again."""
    last = crew.store.read(merges.latest, assignment["task_id"])
    if last is None or last["status"] != "rejected" or last["error_code"] not in merges.NOT_THE_WORKS_FAULT:
        return False
    worktree = crew.store.read(worktrees.live, assignment["task_id"])
    if last["orchestrator_task_id"] == assignment["orchestrator_task_id"] or worktree is None:
        return False
    path = Path(worktree.path)
    if crew.repository.tip(worktree.branch) != last["head_commit"] or (
        path.exists() and hidden.is_dirty(crew.repository, path)
    ):
        return False
    crew.write(_queue_again, assignment["orchestrator_task_id"], worktree, last, clock.now())
    return True


def _queue_again(tx: Transaction, assignment_id: str, worktree: Worktree, last: Row, now: str) -> None:
    assignments.placed(tx, assignment_id, path=worktree.path, branch=worktree.branch)
    assignments.proven(tx, assignment_id, no_change=False, now=now, actor=ACTOR)
    merges.enqueue_again(tx, assignment_id, last, approved_by=last["approved_by"], now=now, actor=ACTOR)


def _not_launched(tx: Transaction, row: Row, why: str, policy: backoff.Policy) -> None:
    """No runner could be started: an attempt that failed for want of something."""
    now = clock.now()
    agents.ended(tx, row["agent_id"], agents.Exit("lost", now, message=f"It was never started: {why}"), actor=ACTOR)
    attempts.failed(
        tx,
        row["orchestrator_task_id"],
        code="resource_exhaustion",
        message=f"It could not be started: {why}",
        tail="",
        exited_at=now,
        policy=policy,
        now=now,
        actor=ACTOR,
    )


def is_quick(crew: Crew, assignment: Row) -> bool:
    """Whether starting its agent takes no git: a restart in the worktree that is there, with nothing to bring in."""
    path = assignment["worktree_path"] and Path(assignment["worktree_path"])
    if not path or not (path / ".git").is_file():
        return False
    folder = crew.repository.admin_dir(path)
    if any(folder.glob("*.lock")) or not (folder / workspaces.SETUP_DONE).exists():
        return False
    worktree = crew.store.read(worktrees.live, assignment["task_id"])
    last = crew.store.read(merges.latest, assignment["task_id"])
    if crew.store.read(groundwork.is_there, assignment["task_id"]):
        return False
    return worktree is not None and worktree.status == "active" and (last is None or last["status"] != "conflicted")


def _code_of(error: Exception) -> str:
    if isinstance(error, ConfigurationError | UncommittedChanges):  # no other attempt would find it otherwise
        return "non_retryable_error"
    return error.code if isinstance(error, GitError) else "resource_exhaustion"


def restart_policy(crew: Crew) -> backoff.Policy:
    """What follows a failed attempt, as the settings have it."""
    base, cap = crew.settings.backoff
    return backoff.Policy(
        crew.settings.crew.max_restarts,
        base,
        cap,
        healthy_after=crew.settings.health.healthy_after_seconds,
        max_launches=crew.settings.launch.max_per_task,
    )


def _plan(
    tx: Transaction,
    crew: Crew,
    assignment_id: str,
    worktree: Worktree,
    conflicts: list[Unmerged],
    built_on: list[prompts.Deed],
    token: str,
) -> tuple[Row, str, list[str]] | None:
    """The agent's row, before it is started, its prompt, and its checks; None where that was held, or taken back."""
    assignment = assignments.get(tx, assignment_id)
    stopped = holds.get(tx, holds.EVERYONE, "stopped") is not None
    if stopped or holds.of_type(tx, assignment["agent_type"], clock.now()) is not None:
        return None
    if assignment["status"] != "assigned":  # somebody has resolved its conflict otherwise
        return None
    agent = crew.settings.agent(assignment["agent_type"])
    assignments.placed(tx, assignment_id, path=worktree.path, branch=worktree.branch)
    order = launches.LaunchOrder(
        agent_type=assignment["agent_type"],
        kind=agent.kind,
        task_id=assignment["task_id"],
        orchestrator_task_id=assignment_id,
        workspace=worktree.path,
        runs_folder=str(crew.paths.runs),
        timeout_seconds=json.loads(assignment["metadata"]).get("timeout_seconds") or agent.timeout_seconds,
        memory_limit_mb=agent.memory_limit_mb,
        token_hash=agents.hash_token(token),
        term=crew.term,
        everywhere=crew.settings.launch.singleton_scope == "type",
        failed_start_seconds=crew.settings.launch.failed_start_seconds,
    )
    row = launches.plan_launch(tx, order, now=clock.now(), actor=ACTOR)
    task = tasks.get(tx, assignment["task_id"])
    prompt = prompts.compose(tx, task, _briefing(tx, crew, row, agent, assignment["next_prompt"], conflicts, built_on))
    checks = [words for words in (tasks.check_of(task), crew.settings.merge.check) if words]
    return row, prompt, [prompts.as_typed(words) for words in checks]


def _briefing(
    tx: Transaction,
    crew: Crew,
    row: Row,
    agent: Agent,
    before: str | None,
    conflicts: list[Unmerged],
    built_on: list[prompts.Deed],
) -> prompts.Briefing:
    """What the agent is told beside its task; its mail is taken for it with that."""
    can_call = kinds.can_call(agent)
    return prompts.Briefing(
        crew.target,
        resumes=json.loads(row["metadata"])["resumed"] and kinds.goes_on(agent),
        can_call=can_call,
        commits=kinds.named(agent.kind).commits,
        built_on=built_on,
        before=before,
        conflicts=conflicts,
        earlier_mail=enclosures.earlier(tx, row),
        mail=enclosures.put_in(tx, row, can_poll=can_call, now=clock.now()),
    )


def _write_run_folder(crew: Crew, row: Row, worktree: Worktree, prompt: str, checks: Sequence[str], token: str) -> None:
    run_dir = Path(row["run_dir"])
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    agent = crew.settings.agent(row["agent_type"])
    facts = Launch(
        agent_id=row["agent_id"],
        task_id=row["task_id"],
        attempt=row["attempt"],
        prompt=prompt,
        prompt_file=run_dir / "prompt.md",
        worktree=Path(worktree.path),
        mcp_config=run_dir / credentials.MCP_CONFIG,
        session_id=row["session_id"],
        resumes=json.loads(row["metadata"])["resumed"],
        agent_type=row["agent_type"],
        program_config=run_dir / credentials.PROGRAM_CONFIG,
        checks=checks,
        server=credentials.server(crew.paths, token),
    )
    kind = kinds.of(row["agent_type"], agent.kind)
    start = kind.start(agent, facts)
    order = {
        "argv": list(start.argv),
        "cwd": worktree.path,
        "env": credentials.variables(
            agent, kind, facts, start, identity=crew.repository.identity(), root=crew.root, token=token
        ),
        "bell": str(crew.paths.bell),
        "timeout_seconds": row["timeout_seconds"],
        "memory_limit_mb": agent.memory_limit_mb,
        "grace_seconds": crew.settings.crew.grace_period_seconds,
        "beat_seconds": min(BEAT_SECONDS, crew.settings.health.warn_after_seconds / BEATS_BEFORE_WARNING),
        "output": outputs.FILE_NAME,
        "output_limit_bytes": runners.OUTPUT_LIMIT_BYTES,
    }
    if start.reads_prompt:
        order["stdin"] = str(facts.prompt_file)
    credentials.lay_down_start(run_dir, facts, start)
    runners.write_order(run_dir, order)
