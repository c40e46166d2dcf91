"""Ends `crewyard run` at each git command of it that changes something, and looks at what the next run makes of that.

    python scripts/every_step.py [--how HOW] [--followed | --elsewhere] [--only TEXT] [--jobs N] [--keep]

A program named `git` stands first in PATH. It passes everything on to the real one, numbers the commands of the crew
that change something ("merge-tree#2"), and strikes at the one that it was told of. The run is killed before that
command, meanwhile or after it; or with git itself, which dies as soon as it has written so many bytes to a file
("torn"), so that its locks and half-written files are left; or git dies alone and the run lives on ("alone").

The plan has each step in it: worktrees, work that was left uncommitted, a conflict, a failed check, a branch of an
earlier life, a worktree that is dirty when it is to be removed. Afterwards, and after one more run if the first one was
killed, each task is merged once, each line that an agent or somebody else wrote is on the integration branch or under a
salvage ref, and nothing is left. All of it is done with the user's checkout on the integration branch and elsewhere.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chaos

TASKS = "ABCDEF"
HOWS = ("before", "meanwhile", "after", "torn-0", "torn-50", "torn-150", "alone-0")
LINES = 12

GIT = r"""#!/bin/sh
# Numbers the crew's commands that change something, in @STEPS@/seen, and strikes at those named in @STEPS@/strike.
real='@REAL@' steps='@STEPS@'
[ -n "$CREWYARD_GIT" ] && [ -e "$steps/strike" ] || exec "$real" "$@"

name_of() {
    while :; do case "$1" in -C|-c) shift 2 ;; --config-env=*) shift ;; *) break ;; esac; done
    case "$1 $2" in
        'worktree list') ;;
        worktree*) echo "$1-$2" ;;
        update-ref*) case " $* " in *' -d '*) echo update-ref-d ;; *) echo update-ref ;; esac ;;
        merge\ *) case " $* " in *' --ff-only '*) echo merge-ff ;; *) echo merge ;; esac ;;
        cat-file*|config\ *) ;;
        diff*|for-each-ref*|hash-object*|log*|ls-files*|ls-tree*|merge-base*|rev-*|show*|symbolic-ref\ -*) ;;
        status*|var*|version*|--version*) ;;
        *) echo "$1" ;;
    esac
}

name=$(name_of "$@")
[ -n "$name" ] || exec "$real" "$@"
number=1
until (set -C; : > "$steps/seen/$name#$number") 2>/dev/null; do number=$((number + 1)); done
how=$(sed -n "s/^$name#$number //p" "$steps/strike")
[ -n "$how" ] || exec "$real" "$@"

: > "$steps/struck"
caller=${CREWYARD_GIT%%:*}
case $how in
    before) kill -9 "$caller"; exit 1 ;;
    meanwhile) kill -9 "$caller"; exec "$real" "$@" ;;
    after) "$real" "$@" > /dev/null; kill -9 "$caller"; exit 1 ;;
    torn-*) kill -9 "$caller" ;;
esac
exec prlimit --core=0 --fsize="${how#*-}" "$real" "$@"
"""

# Looks at what it finds, as an agent does, and so may be started at any time and any number of times.
AGENT = r"""
task=$CREWYARD_TASK_ID
echo "$task $CREWYARD_ATTEMPT begins" >> '@FOLDER@/launches'
if grep -q '^<<<<<<<' shared.txt; then
    sed -i '/^<<<<<<< /d; /^=======$/d; /^>>>>>>> /d' shared.txt
else
    case $task in A|B) grep -q "token-$task-" shared.txt || sed -i "s/^line 6/token-$task-shared/" shared.txt ;; esac
fi
mkdir -p "of $task/deep"
echo "token-$task-new" > "of $task/deep/new.txt"
case $task in
    A|E|F) git add --all; git commit -qm "Work of $task"; echo "token-$task-more" > "$task.more" ;;
    B) echo "token-B-attempt-$CREWYARD_ATTEMPT" >> b.log; git add b.log ;;
    C) rm -f to-be-deleted.txt ;;
    D) if [ -e .was-broken ]; then rm -f broken; else touch broken .was-broken; fi ;;
esac
sleep 0.2
echo "$task $CREWYARD_ATTEMPT ends" >> '@FOLDER@/launches'
"""

CONFIGURATION = """
[crew]
restart_backoff_seconds = 0.05
grace_period_seconds = 1.0
max_parallel = 6

[merge]
check = ["sh", "-c", "test ! -e broken"]
retry_seconds = 0.2

[agents.looking]
command = ["sh", "{agent}"]
"""


class Yard(chaos.Yard):
    """A throw-away repository, whose crew's gits are numbered."""

    followed = False  # whether the user's checkout is on the integration branch

    @property
    def steps(self) -> Path:
        return self.folder / "steps"

    def make(self) -> None:
        self.repo.mkdir(parents=True)
        self.launches.touch()
        (self.steps / "seen").mkdir(parents=True)
        git = self.folder / "bin/git"
        git.parent.mkdir()
        real = shutil.which("git") or "git"
        git.write_text(GIT.replace("@REAL@", real).replace("@STEPS@", str(self.steps)))
        git.chmod(0o755)
        agent = self.folder / "agent.sh"
        agent.write_text(AGENT.replace("@FOLDER@", str(self.folder)))
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Chaos")
        self.git("config", "user.email", "chaos@example.org")
        (self.repo / "shared.txt").write_text("".join(f"line {n}\n" for n in range(LINES)))
        (self.repo / "to-be-deleted.txt").write_text("old\n")
        (self.repo / "crewyard.toml").write_text(CONFIGURATION.format(agent=agent))
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=First")
        self._leave_a_branch()
        if self.followed:
            self.git("switch", "--quiet", "--create", "roadmap")
        tasks = [{"task_id": name, "title": name, "agent_type": "looking"} for name in TASKS]
        # What its check leaves is found when its worktree is to be removed.
        tasks[TASKS.index("E")]["check"] = ["sh", "-c", "echo token-E-left > left-by-check.txt"]
        tasks[TASKS.index("F")]["depends_on"] = ["C"]
        self.plan.write_text(json.dumps({"tasks": tasks}))

    def _leave_a_branch(self) -> None:
        """Of an earlier life, with work on it."""
        self.git("switch", "--quiet", "--create", "roadmap-implementation_task-F")
        (self.repo / "earlier.txt").write_text("token-F-earlier\n")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=Earlier")
        self.git("switch", "--quiet", "main")

    def environment(self) -> "dict[str, str]":
        ours = super().environment()
        return {**ours, "PATH": f"{self.folder / 'bin'}{os.pathsep}{ours['PATH']}"}

    def strike_at(self, *points: "tuple[str, str]") -> None:
        (self.steps / "strike").write_text("".join(f"{point} {how}\n" for point, how in points))

    def seen(self) -> "list[str]":
        """The commands that changed something, by their numbered names, in their order."""
        marks = list((self.steps / "seen").iterdir())
        return [mark.name for mark in sorted(marks, key=lambda mark: mark.stat().st_mtime_ns)]

    def struck(self) -> bool:
        return (self.steps / "struck").exists()

    def disarm(self) -> None:
        (self.steps / "strike").unlink()

    def salvaged(self) -> str:
        """All lines that are kept under salvage refs."""
        refs = self.git("for-each-ref", "--format=%(refname)", "refs/crewyard/salvage").split()
        return "".join(self.lines_at(ref) for ref in refs)

    def lines_at(self, ref: str) -> str:
        return self.git("grep", "-h", "-e", "token", "--or", "-e", "^line 0", ref)


@dataclass
class Trial:
    """One command, what was done at it, and what was wrong afterwards."""

    point: str
    how: str
    followed: bool
    struck: bool = False
    runs: int = 0
    seconds: float = 0.0
    wrong: "list[str]" = field(default_factory=list)

    def told(self) -> str:
        place = "followed" if self.followed else "elsewhere"
        return f"{self.how} {self.point} ({place}): {self.runs} runs, {self.seconds:.1f} s"


def steps_of(folder: Path, *, followed: bool) -> "list[str]":
    """The points there are, found by a run that nobody disturbs."""
    yard = made(folder, followed=followed)
    yard.strike_at()
    try:
        run = yard.start()
        run.wait(chaos.RUN_SECONDS)
        wrong = list(judge(yard, run))
        if wrong:
            raise SystemExit(f"already without a strike: {wrong} (kept: {folder})")
        return yard.seen()
    finally:
        yard.end_everything()


def made(folder: Path, *, followed: bool) -> Yard:
    yard = Yard(folder, random.Random(1), quick=True)  # noqa: S311  (it is asked for nothing)
    yard.followed = followed
    yard.make()
    return yard


def play(folder: Path, point: str, how: str, *, followed: bool) -> Trial:
    """Strike once, let the next run go on, and judge."""
    began = time.monotonic()
    done = Trial(point, how, followed)
    yard = made(folder, followed=followed)
    yard.strike_at((point, how))
    with chaos.complaints_into(done.wrong, yard):
        run = yard.start()
        run.wait(chaos.RUN_SECONDS)
        done.runs, done.struck = 1, yard.struck()
        yard.disarm()
        if run.returncode == -signal.SIGKILL:
            run = yard.start()
            run.wait(chaos.RUN_SECONDS)
            done.runs = 2
        done.wrong += judge(yard, run)
    done.seconds = time.monotonic() - began
    return done


# ----------------------------------------------------------------------------------------------- the verdict

Complaints = Iterator[str]


def judge(yard: Yard, run: "subprocess.Popen[bytes]") -> Complaints:
    chaos.left_after(yard.folder, chaos.GONE_SECONDS)
    if run.returncode != 0:
        yield f"the run ended with {run.returncode}: {of_failed(yard, run)}"
    yield from of_merges(yard)
    yield from of_lines(yard)
    yield from of_the_checkout(yard)
    for look in (chaos.of_attempts, chaos.of_processes, chaos.of_git, chaos.of_the_database):
        yield from look(yard)


def of_failed(yard: Yard, run: "subprocess.Popen[bytes]") -> str:
    try:
        tasks = yard.result(run)["tasks"]
    except ValueError:
        return yard.errors(run)[-600:]
    return "; ".join(f"{task['task_id']} {task['status']}: {task['error']}" for task in tasks if task["error"])


def of_merges(yard: Yard) -> Complaints:
    """Each task is merged once, on record and in git."""
    merged = yard.rows("SELECT task_id, merge_commit FROM merge_request WHERE status = 'merged'")
    commits = yard.git("rev-list", "--first-parent", "main..roadmap").split()
    if sorted(row["task_id"] for row in merged) != sorted(TASKS):
        yield f"merged on record: {sorted(row['task_id'] for row in merged)}"
    if sorted(row["merge_commit"] for row in merged) != sorted(commits):
        yield f"{len(commits)} merges in git are not the {len(merged)} on record"
    lines = Counter(yard.git("log", "--first-parent", "--format=%s", "main..roadmap").splitlines())
    if any(number > 1 for number in lines.values()):
        yield f"merged twice: {lines}"


def of_lines(yard: Yard) -> Complaints:
    """Every line that was written is there."""
    there = yard.lines_at("roadmap").splitlines()
    wanted = [f"token-{task}-new" for task in TASKS] + [f"token-{task}-more" for task in "AEF"]
    attempts = {attempt for task, attempt in yard.noted("ends") if task == "B"}
    wanted += ["token-A-shared", "token-B-shared", *(f"token-B-attempt-{attempt}" for attempt in attempts)]
    for line in wanted:
        if there.count(line) != 1:
            yield f"{line} is on the integration branch {there.count(line)} times"
    names = yard.git("ls-tree", "-r", "--name-only", "roadmap").splitlines()
    for name in ("to-be-deleted.txt", "broken"):
        if name in names:
            yield f"{name} is on the integration branch"
    kept = [*yard.salvaged().splitlines(), *there]  # a check that is run again has what it left committed
    for line in ("token-E-left", "token-F-earlier"):
        if line not in kept:
            yield f"{line} is under no salvage ref"


def of_the_checkout(yard: Yard) -> Complaints:
    at, wanted = yard.git("rev-parse", "HEAD", "roadmap" if yard.followed else "main").split()
    if at != wanted:
        yield f"the user's checkout is at {at}, not at {wanted}"


# ----------------------------------------------------------------------------------------- the command itself


def main() -> int:
    parser = argparse.ArgumentParser(description="End a run at each git command that changes something.")
    parser.add_argument("--how", choices=HOWS, action="append", help="strike in this way only; may be given again")
    parser.add_argument("--only", default="", help="commands whose numbered name holds this text")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--followed", action="store_true", help="with the checkout on the integration branch only")
    place.add_argument("--elsewhere", action="store_true", help="with the checkout on another branch only")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    parser.add_argument("--keep", action="store_true", help="keep the folder of each trial, not only of bad ones")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing of a trial is left
    folder = Path(tempfile.mkdtemp(prefix="crewyard-steps-"))
    places = [followed for followed in (True, False) if not (given.elsewhere if followed else given.followed)]
    trials = []
    for followed in places:
        points = [point for point in steps_of(folder / f"points-{followed}", followed=followed) if given.only in point]
        print(f"{'followed' if followed else 'elsewhere'}: {len(points)} commands: {' '.join(points)}", flush=True)
        trials += [(point, how, followed) for how in given.how or HOWS for point in points]

    def one(number: int) -> Trial:
        point, how, followed = trials[number]
        here = folder / f"{number:04}"
        done = play(here, point, how, followed=followed)
        if done.wrong:
            print("\n  ".join([f"WRONG {done.told()} (kept: {here})", *done.wrong]), flush=True)
        elif not given.keep:
            shutil.rmtree(here)
        return done

    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(one, range(len(trials))))
    return show(results)


def show(results: "list[Trial]") -> int:
    rows: "dict[tuple[str, bool], list[Any]]" = {}
    for done in results:
        row = rows.setdefault((done.how, done.followed), [0, 0, 0, 0.0])
        row[0], row[1], row[2], row[3] = (
            row[0] + 1, row[1] + done.struck, row[2] + bool(done.wrong), row[3] + done.seconds,
        )  # fmt: skip
    print(f"{'how':10} {'checkout':10} {'trials':>7} {'struck':>7} {'wrong':>6} {'s':>6}")
    for (how, followed), row in rows.items():
        place = "followed" if followed else "elsewhere"
        print(f"{how:10} {place:10} {row[0]:7} {row[1]:7} {row[2]:6} {row[3]:6.0f}")
    return 1 if any(done.wrong for done in results) else 0


if __name__ == "__main__":
    sys.exit(main())
