"""Kills what can be killed, at random moments of small runs, and looks at what is left (`make chaos`).

    python scripts/chaos.py [--rounds N] [--seed N] [--only KIND] [--keep]

A round is a throw-away repository with a plan of twelve tasks, worked off by `crewyard run` with real agents. One to
three times something is killed by SIGKILL (or the run is stopped by SIGSTOP, while a second one stands by), and a run
that is dead is started again, until one comes to its end. Then every task has to be merged once or to have failed with
a reason, every start of an agent to be on record, and nothing may be left.

A round depends on its seed only, which is printed where something is wrong: `--seed THAT --rounds 1` repeats it. What
no seed decides is how the machine shares its time out; a moment is therefore "after the nth event on record".
"""

import argparse
import contextlib
import json
import os
import random
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TASKS = 12
EVENTS = 170  # about as many as a run of twelve tasks records
RUN_SECONDS = 120.0
TAKE_OVER_SECONDS = 15.0
GONE_SECONDS = 5.0
MARK = "CHAOS_FOLDER"  # in the environment of all that a run starts, agents and checks apart
# What a traceback ends with. A holder that is stopped inside a transaction holds the database too.
ERROR = re.compile(r"^ {2,}\S.*\n([A-Za-z_][\w.]*(?:: .*)?)$", re.MULTILINE)
BUSY = re.compile(r"(sqlite3\.OperationalError: database is locked|.*\.DatabaseBusy: .*)")
MERGED, FAILED = "merged", ("failed", "review", "blocked", "cancelled")


# ------------------------------------------------------------------------------------------------- processes


@dataclass(frozen=True)
class Process:
    """One process and no other: a pid alone may come to mean another one."""

    pid: int
    start_time: str

    def send(self, number: signal.Signals) -> bool:
        """Signal it; returns whether it was there."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if start_time(self.pid) != self.start_time:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def lives(self) -> bool:
        return start_time(self.pid) == self.start_time


def start_time(pid: int) -> "str | None":
    """None where the process is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def parent(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat[stat.rindex(")") + 2 :].split()[1]


def processes(folder: Path, *, having: bytes = b"") -> list[Process]:
    """All that name ``folder`` in their environment or arguments, or work in it, and have a certain word there."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        seen = traces(pid)
        if pid != os.getpid() and os.fsencode(folder) in seen and having in seen:
            began = start_time(pid)
            if began is not None:
                found.append(Process(pid, began))
    return found


def traces(pid: int) -> bytes:
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes() + b"\0" + Path(f"/proc/{pid}/cmdline").read_bytes()
        return words + b"\0" + os.fsencode(Path(f"/proc/{pid}/cwd").readlink()) + b"\0"
    except OSError:
        return b""


def told(process: Process) -> str:
    words = traces(process.pid).decode(errors="replace").split("\0")
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace").split("\0")
    return f"{process.pid} ({' '.join(words).strip()[:150]})"


# ------------------------------------------------------------------------------------------------ one yard


@dataclass
class Yard:
    """A throw-away repository with its plan and its agents' own record of their starts, and the runs at work on it."""

    folder: Path
    dice: random.Random
    quick: bool = False
    runs: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def launches(self) -> Path:
        return self.folder / "launches"

    def make(self) -> None:
        self.repo.mkdir(parents=True)
        self.launches.touch()
        for words in (
            ["init", "--quiet", "--initial-branch=main"],
            ["config", "user.name", "Chaos"],
            ["config", "user.email", "chaos@example.org"],
        ):
            self.git(*words)
        (self.repo / "README.md").write_text("# Chaos\n")
        check = self.dice.choice(("[]", '["sh", "-c", "sleep 0.05; test -s README.md"]'))
        (self.repo / "crewyard.toml").write_text(
            f"[crew]\nrestart_backoff_seconds = 0.05\ngrace_period_seconds = 1.0\n[merge]\ncheck = {check}\n"
        )
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=First")
        self.plan.write_text(json.dumps({"tasks": [self._task(number) for number in range(TASKS)]}))

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    def _task(self, number: int) -> dict[str, Any]:
        name, longest = f"T{number:02}", 0.25 if self.quick else 0.5
        steps = [f"{n}: append {self.launches} '{name} {n} begins'" for n in range(1, 30)]
        steps += [f"{n}: append {name}.attempts {n}" for n in range(1, 30)]  # each has something to commit
        steps += [f"sleep {self.dice.uniform(0.02, longest):.3f}", f"write {name}.txt {name}"]
        steps += self.dice.choice(([], [f"commit {name}"], [f"commit {name}", "sleep 0.05", f"write {name}.more x"]))
        steps += [f"{n}: append {self.launches} '{name} {n} ends'" for n in range(1, 30)]
        waits = self.dice.sample(range(number), min(number, self.dice.choice((0, 1, 1, 2))))
        return {
            "task_id": name,
            "title": name,
            "agent_type": "scripted",
            "depends_on": [f"T{other:02}" for other in sorted(waits)],
            "description": "```crew-script\n" + "\n".join(steps) + "\n```",
        }

    def git(self, *words: str) -> str:
        command = ["git", "-C", str(self.repo), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=self.environment()).stdout

    def environment(self) -> dict[str, str]:
        """Nobody's configuration, neither git's nor ours."""
        ours = ("GIT_", "CREWYARD_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        busy = {"CREWYARD_LAUNCH_MAX_CPU_PERCENT": "100"}  # a machine at work on other things is none of this
        return {
            **kept,
            **busy,
            "PYTHONFAULTHANDLER": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            MARK: str(self.folder),
        }

    def start(self) -> "subprocess.Popen[bytes]":
        number = len(self.runs)
        command = [sys.executable, "-m", "crewyard.server.cli", "run", str(self.plan), "--repo", str(self.repo)]
        with (self.folder / f"out-{number}").open("wb") as out, (self.folder / f"err-{number}").open("wb") as err:
            self.runs.append(
                subprocess.Popen([*command, "--json"], stdout=out, stderr=err, env=self.environment(), cwd="/")
            )
        return self.runs[-1]

    def whereabouts(self) -> str:
        """Where in its code each run stands that has not ended. It ends by being asked."""
        for run in (run for run in self.runs if run.poll() is None):
            run.send_signal(signal.SIGABRT)
            run.send_signal(signal.SIGCONT)
            run.wait()
        said = "\n".join(f"run {number}:\n{self.errors(run)}" for number, run in enumerate(self.runs))
        return f"at\n{said}\n{[dict(row) for row in self.rows('SELECT * FROM supervisor_lease')]}"

    def result(self, run: "subprocess.Popen[bytes]") -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.folder / f"out-{self.runs.index(run)}").read_text())
        return loaded

    def errors(self, run: "subprocess.Popen[bytes]") -> str:
        return (self.folder / f"err-{self.runs.index(run)}").read_text(errors="replace")

    def rows(self, sql: str, *parameters: Any, name: str = "orchestrator.db") -> list[sqlite3.Row]:
        """What the database says; nothing as long as there is none."""
        try:
            connection = sqlite3.connect(f"file:{self.repo / 'data' / name}?mode=ro", uri=True, timeout=10)
        except sqlite3.OperationalError:
            return []
        connection.row_factory = sqlite3.Row
        with contextlib.closing(connection):
            try:
                return connection.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error) or "unable to open" in str(error):
                    return []
                raise

    def noted(self, what: str) -> list[tuple[str, str]]:
        """(task, attempt) as the agents themselves put down that one ``begins`` or ``ends``."""
        lines = (line.split() for line in self.launches.read_text().splitlines())
        return [(name, attempt) for name, attempt, word in lines if word == what]

    def events(self) -> int:
        rows = self.rows("SELECT max(event_id) AS n FROM event")
        return (rows[0]["n"] or 0) if rows else 0

    def term(self) -> int:
        rows = self.rows("SELECT term FROM supervisor_lease")
        return rows[0]["term"] if rows else 0

    def holder(self) -> "subprocess.Popen[bytes] | None":
        """The run that has the lease."""
        pids = [row["pid"] for row in self.rows("SELECT pid FROM supervisor_lease")]
        return next((run for run in self.runs if run.pid in pids and run.poll() is None), None)

    def agents(self) -> list[Process]:
        return processes(self.folder, having=b"CREWYARD_PROMPT_FILE=")

    def runners(self) -> list[Process]:
        """Those that live, as they put themselves down."""
        named = (Process(int(words[0]), words[1]) for words in self.claims() if len(words) > 1)
        return [process for process in named if process.lives()]

    def claims(self) -> list[list[str]]:
        """What each runner put down of itself: pid, start time, and its agent's control group where there is one."""
        return [claim.read_text().split(maxsplit=2) for claim in self.repo.glob("data/crewyard/agents/*/claim")]

    def parents(self) -> list[Process]:
        """Of runners: what a run has started beside its gits."""
        ours = {str(run.pid) for run in self.runs if run.poll() is None}
        return [found for found in processes(self.folder, having=b"/runner/") if parent(found.pid) in ours]

    def end_everything(self) -> None:
        """Kill all of it, as often as something is found."""
        while found := processes(self.folder):
            for process in found:
                process.send(signal.SIGKILL)
            for run in self.runs:
                run.poll()
            time.sleep(0.01)
        for run in self.runs:
            run.wait()


# ----------------------------------------------------------------------------------------------- the strikes

Strike = Callable[[Yard, "subprocess.Popen[bytes]"], int]


def kill_server(_yard: Yard, run: "subprocess.Popen[bytes]") -> int:
    run.kill()
    run.wait()
    return 1


def kill_one(found: Callable[[Yard], list[Process]]) -> Strike:
    def strike(yard: Yard, run: "subprocess.Popen[bytes]") -> int:
        while run.poll() is None:
            alive = sorted(found(yard), key=lambda process: process.pid)
            if alive and yard.dice.choice(alive).send(signal.SIGKILL):
                return 1
        return 0

    return strike


def kill_runners(yard: Yard, run: "subprocess.Popen[bytes]") -> int:
    while run.poll() is None:
        hit = sum(process.send(signal.SIGKILL) for process in yard.runners())
        if hit:
            return hit
    return 0


def kill_everything(yard: Yard, run: "subprocess.Popen[bytes]") -> int:
    """The run, then every runner and agent; a git or a check at work is left to its end, as after a kill by hand."""
    hit = kill_server(yard, run)
    while found := [*yard.runners(), *yard.agents()]:
        hit += sum(process.send(signal.SIGKILL) for process in found)
    return hit


def kill_machine(yard: Yard, run: "subprocess.Popen[bytes]") -> int:
    """All that there is, gits half way through their work included, as when the machine fails."""
    run.kill()
    hit = 1
    while found := processes(yard.folder):
        hit += sum(process.send(signal.SIGKILL) for process in found)
        run.poll()
    run.wait()
    return hit


def stop_server(yard: Yard, run: "subprocess.Popen[bytes]") -> int:
    """Stop the holder for a while: at times for less than its lease holds, at times until another has it."""
    while (holder := yard.holder()) is None:
        if run.poll() is not None:
            return 0
    before, long = yard.term(), yard.dice.random() < 0.5
    other = next(other for other in yard.runs if other is not holder)
    holder.send_signal(signal.SIGSTOP)
    limit = time.monotonic() + (TAKE_OVER_SECONDS if long else yard.dice.uniform(0.2, 4.0))
    while time.monotonic() < limit and (not long or yard.term() == before):
        time.sleep(0.02)
    if long and yard.term() != before:
        wait_for_event(yard, yard.events() + yard.dice.randrange(40), other)
    holder.send_signal(signal.SIGCONT)
    return 1


STRIKES: dict[str, Strike] = {
    "the server": kill_server,
    "a runner": kill_one(Yard.runners),
    "an agent": kill_one(Yard.agents),
    "runners' parent": kill_one(Yard.parents),
    "all runners": kill_runners,
    "everything": kill_everything,
    "the machine": kill_machine,
    "server stopped": stop_server,
}


# --------------------------------------------------------------------------------------------------- a round


@dataclass
class Round:
    """What was done in a round, what came of it, and what was wrong with that."""

    seed: int
    kind: str
    strikes: int = 0
    hit: int = 0
    launches: int = 0
    merges: int = 0
    failed: int = 0
    left: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def play(seed: int, kind: "str | None", folder: Path, *, quick: bool = False) -> Round:
    """One round, from an empty folder to the verdict. Nothing of it runs afterwards."""
    began = time.monotonic()
    done = Round(seed, kind or list(STRIKES)[seed % len(STRIKES)])
    yard = Yard(folder, random.Random(seed), quick)  # noqa: S311  (to be repeated, not to be secret)
    yard.make()
    with complaints_into(done.wrong, yard):
        runs = strike_and_restart(yard, done)
        judge(yard, runs, done)
    done.seconds = time.monotonic() - began
    return done


@contextlib.contextmanager
def complaints_into(wrong: "list[str]", yard: "Yard") -> "Iterator[None]":
    """A run that hangs and a git that fails are complaints; nothing of the yard runs afterwards."""
    try:
        yield
    except subprocess.TimeoutExpired:
        wrong.append(f"a run did not end within {RUN_SECONDS:g} s, and stood {yard.whereabouts()}")
    except subprocess.CalledProcessError as error:
        wrong.append(f"{' '.join(error.cmd)}: {error.stderr.strip()}")
    finally:
        yard.end_everything()


def strike_and_restart(yard: Yard, done: Round) -> "list[subprocess.Popen[bytes]]":
    """Strike one to three times, and start anew whatever did not live to its end; returns the runs that did."""
    run = yard.start()
    runs = [run]
    if done.kind == "server stopped":
        runs.append(yard.start())  # at once, and one of the two will hold the lease
        wait_for(lambda: len(yard.rows("SELECT 1 FROM dispatch_watcher")) == 2, run)
    once = done.kind == "server stopped"
    for moment in moments(yard.dice, 1 if once else yard.dice.randint(1, 3), yard.events()):
        wait_for_event(yard, moment, run)
        time.sleep(yard.dice.uniform(0, 0.02) if moment else yard.dice.uniform(0, 0.8))
        if run.poll() is not None:
            break
        hit = STRIKES[done.kind](yard, run)
        done.hit, done.strikes = done.hit + hit, done.strikes + bool(hit)
        if run.poll() is not None and run.returncode == -signal.SIGKILL:
            run = yard.start()
            runs = [run]
    for at_work in runs:
        at_work.wait(RUN_SECONDS)
    return runs


def moments(dice: random.Random, number: int, already: int) -> list[int]:
    """After which events to strike; 0 is while the program starts."""
    first = [0] if not already and dice.random() < 0.1 else []
    later = sorted(dice.sample(range(already + 1, max(EVENTS, already + 1 + number)), number))
    return (first + later)[:number]


def wait_for_event(yard: Yard, number: int, run: "subprocess.Popen[bytes]") -> None:
    wait_for(lambda: yard.events() >= number, run)


def wait_for(true: Callable[[], bool], run: "subprocess.Popen[bytes]") -> None:
    """Until it is so, or the run has ended."""
    limit = time.monotonic() + RUN_SECONDS
    while run.poll() is None and not true():
        if time.monotonic() >= limit:
            raise subprocess.TimeoutExpired("crewyard run", RUN_SECONDS)
        time.sleep(0.002)


# ----------------------------------------------------------------------------------------------- the verdict


def judge(yard: Yard, runs: "list[subprocess.Popen[bytes]]", done: Round) -> None:
    done.launches = len(yard.noted("begins"))
    done.merges = len(yard.git("rev-list", "--first-parent", "main..roadmap").split())
    done.left = len(left_after(yard.folder, GONE_SECONDS))
    done.failed = len(yard.rows("SELECT 1 FROM specs_task WHERE status <> 'completed'"))
    done.wrong += [*of_the_runs(yard, runs), *of_tasks(yard, runs)]
    for look in (of_attempts, of_processes, of_git, of_the_database):
        done.wrong += look(yard)


Complaints = Iterator[str]


def of_the_runs(yard: Yard, runs: "list[subprocess.Popen[bytes]]") -> Complaints:
    for run in runs:
        if run.returncode not in (0, 1):
            yield f"a run ended with {run.returncode}: {yard.errors(run)[-600:]}"
        elif met := {name for name in ERROR.findall(yard.errors(run)) if not BUSY.fullmatch(name)}:
            yield f"a run met something unexpected: {', '.join(sorted(met))}"


def of_tasks(yard: Yard, runs: "list[subprocess.Popen[bytes]]") -> Complaints:
    """Every task is merged once, or has failed and says why."""
    commits = yard.git("rev-list", "--first-parent", "main..roadmap").split()
    requests = yard.rows("SELECT task_id, merge_commit FROM merge_request WHERE status = 'merged'")
    merged = Counter(row["task_id"] for row in requests)
    if sorted(row["merge_commit"] for row in requests) != sorted(commits):
        yield f"{len(commits)} commits on the integration branch, {len(requests)} merges on record"
    files = yard.git("ls-tree", "--name-only", "roadmap").split()
    for run in runs:
        if run.returncode not in (0, 1):
            continue
        told_of = {task["task_id"]: task for task in yard.result(run)["tasks"]}
        if len(told_of) != TASKS:
            yield f"the run tells of {len(told_of)} tasks"
        for name, task in told_of.items():
            if task["status"] == MERGED and merged[name] == 1 and f"{name}.txt" in files:
                continue
            honest = task["status"] in FAILED and (task["error"] or {}).get("message")
            if not honest or merged[name] or run.returncode == 0:
                yield f"{name} is {task['status']}, merged {merged[name]} times, exit {run.returncode}: {task['error']}"


def was_begun(row: sqlite3.Row) -> bool:
    """Whether its agent may have been started. A runner that came late found its order taken back, and started none."""
    return bool(row["started_at"] or (row["runner_pid"] and row["error_message"] != "It was never started."))


def of_attempts(yard: Yard) -> Complaints:
    """What agents wrote at their start, beside what is on record: none without a row, none that worked without one.

    An agent that was killed before it could write has a row only.
    """
    rows = yard.rows("SELECT * FROM agent_lifecycle")
    really = Counter(yard.noted("begins"))
    recorded = Counter((row["task_id"], str(row["attempt"])) for row in rows if was_begun(row))
    for (name, attempt), times in (really - recorded).items():
        yield f"attempt {attempt} at {name} was started {times} times more than is on record"
    worked = Counter((row["task_id"], str(row["attempt"])) for row in rows if row["status"] == "completed")
    for (name, attempt), times in (worked - really).items():
        yield f"attempt {attempt} at {name} is on record {times} times more than it was started"
    for (name, attempt), times in recorded.items():
        if times > 1:
            yield f"attempt {attempt} at {name} is on record {times} times"
    for row in rows:
        if row["status"] in ("starting", "running"):
            yield f"{row['agent_id']} is {row['status']} for ever"
    begun: dict[str, int] = {}
    for name, attempt, word in (line.split() for line in yard.launches.read_text().splitlines()):
        if word == "begins":
            begun[name] = int(attempt)
        elif begun[name] != int(attempt):
            yield f"attempt {attempt} at {name} was still at work when attempt {begun[name]} was"


def left_after(folder: Path, seconds: float) -> list[Process]:
    """What still runs when that much time has passed; nothing that ends sooner."""
    limit = time.monotonic() + seconds
    while found := processes(folder):
        if time.monotonic() >= limit:
            return found
        descriptors = [os.pidfd_open(process.pid) for process in found if process.lives()]
        select.select(descriptors, [], [], 0.1)
        for descriptor in descriptors:
            os.close(descriptor)
    return []


def groups_after(yard: Yard, seconds: float) -> list[str]:
    """Control groups of agents that are there for so long; the kernel may hold one a moment after its last death."""
    limit = time.monotonic() + seconds
    claimed = [words[2] for words in yard.claims() if len(words) > 2]
    while (found := [group for group in claimed if Path(group).exists()]) and time.monotonic() < limit:
        time.sleep(0.05)
    return found


def of_processes(yard: Yard) -> Complaints:
    found = left_after(yard.folder, 0.0)
    if found:
        yield f"{len(found)} processes are left: {'; '.join(map(told, found))}"
    groups = groups_after(yard, GONE_SECONDS)
    if groups:
        yield f"control groups are left: {', '.join(groups)}"


def of_git(yard: Yard) -> Complaints:
    worktrees = yard.git("worktree", "list").splitlines()[1:]
    unfinished = yard.rows("SELECT 1 FROM specs_task WHERE status <> 'completed'")
    if len(worktrees) > len(unfinished):
        yield f"worktrees are left: {worktrees}"
    branches = yard.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    if len(branches) > 2 + len(unfinished):
        yield f"branches are left: {branches}"
    folders = [path.name for path in (yard.repo / ".worktrees").glob("*")]
    if len(folders) > len(unfinished):
        yield f"folders are left: {folders}"
    rejected = {row["merge_id"] for row in yard.rows("SELECT merge_id FROM merge_request WHERE status = 'rejected'")}
    logs = {f"merge-{merge_id}-term-{term}.log" for merge_id in rejected for term in range(100)}  # messages name them
    checks = [path for path in (yard.repo / "data/crewyard/checks").glob("*") if path.name not in logs]
    if checks:
        yield f"checks are left: {checks}"
    locks = [str(path.relative_to(yard.repo)) for path in (yard.repo / ".git").rglob("*.lock")]
    if locks:
        yield f"locks are left: {locks}"
    if status := yard.git("status", "--porcelain"):
        yield f"the checkout is not clean: {status}"
    if broken := yard.git("fsck", "--no-dangling", "--no-progress").strip():
        yield f"git fsck: {broken}"


def of_the_database(yard: Yard) -> Complaints:
    for name in ("orchestrator.db", "metrics.db"):
        said = [row[0] for row in yard.rows("PRAGMA integrity_check", name=name)]
        if said != ["ok"]:
            yield f"{name}: {said}"
        if yard.rows("PRAGMA foreign_key_check", name=name):
            yield f"{name}: rows refer to what is not there"
    for row in yard.rows("SELECT dispatch_id, status FROM dispatch WHERE status <> 'completed'"):
        yield f"dispatch {row['dispatch_id']} is {row['status']}"


# ----------------------------------------------------------------------------------------- the command itself


def main() -> int:
    from rich.console import Console

    parser = argparse.ArgumentParser(description="Kill what can be killed, and look at what is left.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each later one has the next number")
    parser.add_argument("--only", choices=list(STRIKES), help="strike in this way in every round")
    parser.add_argument("--keep", action="store_true", help="keep the folder of each round, not only of bad ones")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing of a round is left
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 110)
    rounds: list[Round] = []
    for number in range(given.rounds):
        folder = Path(tempfile.mkdtemp(prefix="crewyard-chaos-"))
        seed = given.seed + number
        with console.status(f"round {number + 1} of {given.rounds}"):
            done = play(seed, given.only, folder)
        rounds.append(done)
        console.print(
            f"round {number + 1}/{given.rounds}  seed {done.seed}  {done.kind}: {done.strikes} strikes, "
            f"{done.launches} launches, {done.merges} merges, {done.seconds:.1f} s  "
            + ("[red]wrong[/red]" if done.wrong else "[green]ok[/green]")
        )
        for line in done.wrong:
            console.print(f"  {line}", markup=False)
        if done.wrong:
            only = f' --only "{given.only}"' if given.only else ""
            console.print(f"  again: --seed {done.seed} --rounds 1{only}; kept: {folder}", markup=False)
        elif not given.keep:
            shutil.rmtree(folder)
    show(console, rounds)
    return 1 if any(done.wrong for done in rounds) else 0


def show(console: Any, rounds: list[Round]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="What was killed, and what came of it", box=SIMPLE_HEAD)
    table.add_column("killed", no_wrap=True)
    names = ("strikes", "hit", "launches", "merges", "failed", "left")
    for name in ("rounds", *names, "s"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    kinds = [kind for kind in STRIKES if any(done.kind == kind for done in rounds)]
    for title, group in [*((kind, [done for done in rounds if done.kind == kind]) for kind in kinds), ("all", rounds)]:
        bad = [str(done.seed) for done in group if done.wrong]
        figures = [len(group), *(sum(getattr(done, name) for done in group) for name in names)]
        seconds = f"{sum(done.seconds for done in group):.0f}"
        verdict = f"[red]wrong: {', '.join(bad)}[/red]" if bad else "[green]ok[/green]"
        table.add_row(title, *map(str, figures), seconds, verdict, end_section=title == kinds[-1])
    console.print(table)
    console.print(
        f"{len(rounds)} rounds of {TASKS} tasks. hit: processes signalled; launches: by the agents' own record; "
        "left: processes still there at the end; verdict: the seeds of bad rounds."
    )


if __name__ == "__main__":
    sys.exit(main())
