"""Keeps the agents: takes in what their runners recorded, finds the lost, and ends those that are to end."""

import errno
import logging
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import (
    agent_processes,
    agents,
    assignments,
    clock,
    consequences,
    credentials,
    endings,
    journals,
    kinds,
    launches,
    outputs,
    process,
    runners,
    saving,
    workspaces,
    worktrees,
)
from .agents import Exit
from .consequences import Rules
from .crew import ACTOR, Crew
from .errors import GitError, WrongBranch
from .journals import Journal, Reader
from .kinds import Heard
from .launcher import restart_policy
from .sections import Agent
from .store import Row, Transaction

log = logging.getLogger(__name__)

OVERDUE_SECONDS = 10.0
LINE_LENGTH = 200
CODES = {"memory": "resource_exhaustion"}


def take_in(crew: Crew, reader: Reader, row: Row) -> None:
    """Bring one live agent's row up to what its journal says; an agent without a runner is lost."""
    _take_in(crew, reader, row, plainly=False)


def take_in_plainly(crew: Crew, reader: Reader, row: Row) -> None:
    """As ``take_in``, of an end without what the agent printed and left: nothing of that may hinder its end."""
    _take_in(crew, reader, row, plainly=True)


def _take_in(crew: Crew, reader: Reader, row: Row, *, plainly: bool) -> None:
    run_dir = Path(row["run_dir"])
    if row["runner_pid"] is None:
        row = _note_claim(crew, row)
    journal = reader.read(run_dir)
    if journal.ended is None and journal.not_started is None and not agent_processes.runner_lives(row):
        journal = Reader().read(run_dir)  # its last words may have come between the two looks
        if journal.ended is None and journal.not_started is None:
            _lost(crew, row, journal, plainly)
            reader.forget(run_dir)
            return
    if journal.not_started is not None:
        how = Exit(
            "failed", journal.not_started["at"], message=f"It could not be started: {journal.not_started['message']}"
        )
        _end(crew, row, journal, how, plainly, code=_code_of_start(journal.not_started))
    elif journal.ended is not None:
        _end(crew, row, journal, _exit_of(journal.ended), plainly, code=CODES.get(journal.ended["reason"]))
    elif _has_progress(row, journal):
        crew.take_in(_record_progress, row["agent_id"], journal)
    if journal.ended or journal.not_started:
        reader.forget(run_dir)


def _code_of_start(entry: dict[str, Any]) -> str:
    """The preflight has seen the program: what is short or being replaced at this moment comes right again.

    Not so one that is looked up in the worktree, where nothing but a commit brings it.
    """
    number, program = entry.get("errno"), str(entry.get("program", ""))
    missing = number in (errno.ENOENT, errno.EACCES, errno.ESTALE)
    of_the_worktree = "/" in program and not program.startswith("/")
    if number in (errno.ENOEXEC, errno.E2BIG) or (missing and of_the_worktree):
        return "spawn_failed"
    return "startup_failed" if missing else "resource_exhaustion"


def has_news(reader: Reader, row: Row) -> bool:
    """Whether a live agent is worth a closer look: it is only starting, is to be ended, or its journal has grown."""
    starting_or_ending = row["status"] != "running" or row["kill_requested_at"] is not None
    return starting_or_ending or reader.has_grown(Path(row["run_dir"]))


def _note_claim(crew: Crew, row: Row) -> Row:
    """A launch that was claimed was made, and counts, though the server that ordered it died before it noted that."""
    claim = journals.runner_of(Path(row["run_dir"]))
    if claim is None:
        return row
    pid, began = claim
    crew.write(launches.runner_started, row["agent_id"], pid=pid, start_time=began, boot_id=process.boot_id())
    return crew.store.read(agents.get, row["agent_id"])


def end_requested(row: Row) -> None:
    """Carry out a recorded wish to end an agent: its runner does it, with the grace that was asked for."""
    run_dir = Path(row["run_dir"])
    who = agent_processes.runner_identity(row)
    if who is None or not run_dir.exists():
        return
    runners.ask_to_end(run_dir, who, row["kill_grace_seconds"])
    late = clock.seconds_between(row["kill_requested_at"], clock.now()) - row["kill_grace_seconds"]
    if late > OVERDUE_SECONDS:
        log.warning("the runner of %s does not end it; the runner is ended", row["agent_id"])
        process.send(who, signal.SIGKILL)


def _has_progress(row: Row, journal: Journal) -> bool:
    """Whether the journal knows more of a live agent than its row."""
    began, alive = journal.started, journal.alive
    return (began is not None and row["status"] == "starting") or (
        alive is not None and alive["at"] > (row["last_output_at"] or "")
    )


def _record_progress(tx: Transaction, agent_id: str, journal: Journal) -> None:
    row = agents.get(tx, agent_id)
    began, alive = journal.started, journal.alive
    if began is not None and row["status"] == "starting":
        launches.started(
            tx,
            agent_id,
            pid=began["pid"],
            start_time=began["start_time"] or "",
            boot_id=process.boot_id(),
            at=began["at"],
            actor=ACTOR,
        )
        assignments.started(tx, row["orchestrator_task_id"], agent_id, now=began["at"], actor=ACTOR)
    if alive is not None and alive["at"] > (row["last_output_at"] or ""):
        agents.seen_output(tx, agent_id, at=alive["at"], memory_mb=alive["memory_mb"], cpu_percent=alive["cpu_percent"])


def _exit_of(ended: dict[str, object]) -> Exit:
    code, number, reason = ended["code"], ended["signal"], ended["reason"]
    at = str(ended["at"])
    if reason == "timeout":
        return Exit("timeout", at, _int(code), _int(number), "It ran out of time.", limit="timeout_seconds")
    if reason == "memory":
        return Exit("failed", at, _int(code), _int(number), "It went beyond its memory limit.", limit="memory_limit_mb")
    if reason == "killed":
        return Exit("killed", at, _int(code), _int(number), "It was ended on request.")
    if number is not None:
        name = _signal_name(_int(number) or 0)
        return Exit("failed", at, None, _int(number), f"It died by {name}.")
    if code == 0:
        return Exit("completed", at, 0)
    return Exit("failed", at, _int(code), None, f"It ended with exit code {code}.")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time signals between the first and the last have no name
        return f"signal {number}"


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _lost(crew: Crew, row: Row, journal: Journal, plainly: bool) -> None:
    """No runner, and no word of how it ended: end what is left of it, and record that."""
    run_dir = Path(row["run_dir"])
    if journals.give_up_launch(run_dir):
        how = Exit("lost", clock.now(), message="It was never started.")
        credentials.remove(run_dir)
        if row["runner_pid"] is None:  # the server died before it came to that: no attempt was made
            crew.write(agents.ended, row["agent_id"], how, actor=ACTOR)
        else:
            _end(crew, row, journal, how, plainly, code="startup_failed")
        return
    if row["runner_pid"] is None and agent_processes.runner_lives(row):  # it claimed the launch in this very moment
        return
    crew.require_lease()
    process.end_agent(run_dir / "prompt.md", journals.group_of(run_dir))
    if row["kill_requested_at"] is not None:  # the wish may have met its runner before that could listen
        how = Exit("killed", clock.now(), message="It was ended on request.")
    else:
        how = Exit("lost", clock.now(), message="Its runner died; how it ended is not known.")
    _end(crew, row, journal, how, plainly)


def _end(crew: Crew, row: Row, journal: Journal, how: Exit, plainly: bool, *, code: str | None = None) -> None:
    run_dir = Path(row["run_dir"])
    credentials.remove(run_dir)
    if how.status == "killed" and not plainly:
        _save_work(crew, row)
    agent = configured(crew, row["agent_type"])
    kind = kinds.named(row["kind"])
    heard = Heard() if plainly else kind.heard(outputs.ends(run_dir), agent.quota_pattern, now=clock.now())
    words = heard.error or heard.text
    if how.status == "failed" and words.strip():
        how = replace(how, message=f"{how.message} Its last words: {endings.last_words(words, LINE_LENGTH)}")
    crew.take_in(_record_end, row, journal, how, code, heard, rules(crew))


def _record_end(
    tx: Transaction, row: Row, journal: Journal, how: Exit, code: str | None, heard: Heard, rules: Rules
) -> None:
    """What the journal still had to tell, the end, and what follows from it: in one transaction."""
    agent_id = row["agent_id"]
    _record_progress(tx, agent_id, journal)
    kind = kinds.named(row["kind"])
    if kind.tells_session:
        agents.talked(tx, agent_id, heard.session)
    if heard.spending is not None:
        agents.spent(tx, agent_id, heard.spending, so_far=kind.counts_conversation)
    consequences.of_end(tx, agent_id, how, code=code, heard=heard, rules=rules, now=clock.now(), actor=ACTOR)


def rules(crew: Crew) -> Rules:
    """What the settings say of an agent's end."""
    return Rules(restart_policy(crew), crew.starts, crew.settings.launch.quota_pause_seconds)


def configured(crew: Crew, agent_type: str) -> Agent:
    """The type's settings; one that is configured no more has the defaults."""
    return crew.settings.agents.get(agent_type, Agent(kind="scripted"))


def _save_work(crew: Crew, row: Row) -> None:
    """Commit what an agent that was ended had not committed; where that cannot be done it stays in the worktree."""
    worktree = crew.store.read(worktrees.live, row["task_id"])
    if worktree is None or not Path(worktree.path).exists():
        return
    try:
        workspaces.require_branch(crew.repository, Path(worktree.path), worktree.branch)
        if crew.repository.operation_in_progress(Path(worktree.path)) is None:
            saving.save(crew.repository, Path(worktree.path), f"Save the work of {row['agent_id']}, which was ended")
    except (GitError, WrongBranch) as error:
        log.warning("what %s had not committed stays in its worktree: %s", row["agent_id"], error.message)
