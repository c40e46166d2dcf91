"""Whatever the branches, the order, the conflicts and the crash: every line that a task committed is still there.

Made-up tasks are led through the steps of the supervisor in this process, with real git. `make lost` tries many more.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crewyard.server import (
    agents,
    assignments,
    clock,
    janitor,
    launches,
    lease,
    merger,
    process,
    prover,
    provision,
    rework,
    settler,
    tasks,
    worktrees,
)
from crewyard.server.crew import Crew
from crewyard.server.errors import GitError
from crewyard.server.repository import Repository
from crewyard.server.settings import Settings
from crewyard.server.store import Row, Store, Transaction

EXAMPLES = int(os.environ.get("CREWYARD_EXAMPLES", "12"))
FILES = ("a.txt", "b.txt", "c/d.txt")
LINES = 6
ROUNDS = 12
CHECK = ["sh", "-c", "! test -e bad"]


class Crash(BaseException):
    """The process ends here; nothing that handles errors is to see it."""


@dataclass
class Fault:
    """Lets the nth git command be the last that this supervisor calls, before it is run or after."""

    left: int
    after: bool

    def met(self) -> bool:
        self.left -= 1
        return self.left == 0


@dataclass
class World:
    """A repository, its database and what was ever written there. Each line is a word of its own."""

    folder: Path
    check: bool
    written: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    number: int = 0

    def __post_init__(self) -> None:
        self.repo = self.folder / "repo"
        self.git("init", "--quiet", "--initial-branch=main", str(self.repo), at=self.folder)
        for name, value in (("user.name", "T"), ("user.email", "t@example.org")):
            self.git("config", name, value)
        for name in FILES:
            (self.repo / name).parent.mkdir(exist_ok=True)
            (self.repo / name).write_text("".join(f"{self.word()}\n" for _ in range(LINES)))
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=First")
        self.git("branch", "roadmap")
        self.store = Store(self.folder / "orchestrator.db")
        self.settings = Settings.model_validate(
            {"merge": {"check": CHECK if self.check else [], "retry_seconds": 0.0}, "worktree": {"pool": 2}}
        )
        self.crew = self.next_crew(0)
        self.crew.repository.exclude(self.crew.paths.excludes())

    def git(self, *words: str, at: Path | None = None) -> str:
        done = subprocess.run(["git", "-C", at or self.repo, *words], check=True, capture_output=True, text=True)
        return done.stdout

    def word(self) -> str:
        self.number += 1
        self.written.add(f"word-{self.number}")
        return f"word-{self.number}"

    def next_crew(self, dead: int) -> Crew:
        crew = Crew.of(Repository.discover(self.repo), self.settings, self.store)
        me = process.myself()
        holder = lease.Holder("test", me.pid, me.start_time, me.boot_id)
        crew.term = self.store.run(
            lease.acquire, holder, now=clock.now(), uptime=clock.uptime(), dead_term=dead or None
        ) or 0  # fmt: skip
        if dead:
            settler.settle(crew)
        return crew

    def attempt(self, fault: Fault | None, step: Callable[[], object]) -> None:
        """One step of the supervisor; where it dies in it, the next one begins with what it finds."""
        crew, real = self.crew, Repository._execute
        self.store.run(lease.renew, crew.term, now=clock.now(), uptime=clock.uptime())

        def execute(repository: Repository, *arguments: Any, **named: Any) -> Any:
            last = fault is not None and fault.met()
            if last and fault is not None and not fault.after:
                raise Crash
            answer = real(repository, *arguments, **named)
            if last:
                raise Crash
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Repository, "_execute", execute)
            try:
                step()
                return
            except GitError:  # told to the lead, and tried again
                return
            except Crash:
                pass
        crew.runners.close()
        crew.repository._asked.clear_cache()
        self.crew = self.next_crew(crew.term)

    def close(self) -> None:
        self.crew.runners.close()
        self.crew.repository._asked.clear_cache()
        self.store.close()

    # ------------------------------------------------------------------------------------------ the tasks

    def add(self, task_id: str) -> None:
        def insert(tx: Transaction) -> None:
            now = clock.now()
            tx.run(
                "INSERT INTO specs_task (task_id, title, status, created_at, updated_at) VALUES (?, ?, 'ready', ?, ?)",
                (task_id, task_id, now, now),
            )
            task = tasks.get(tx, task_id)
            assignments.create(tx, task, agent_type="scripted", dispatch_id=None, now=now, actor="test")

        self.store.run(insert)

    def assignment(self, task_id: str) -> Row | None:
        return self.store.read(assignments.of_task, task_id)

    def worktree(self, task_id: str) -> Path | None:
        """Where its agent can work."""
        live = self.store.read(worktrees.live, task_id)
        return Path(live.path) if live is not None and live.status == "active" else None

    def agent_worked(self, assignment_id: str, task_id: str, path: Path) -> None:
        def record(tx: Transaction) -> None:
            now = clock.now()
            order = launches.LaunchOrder(
                "scripted", "scripted", task_id, assignment_id, str(path), str(self.folder), 60.0, None,
                os.urandom(32).hex(), self.crew.term,
            )  # fmt: skip
            agent_id = str(launches.plan_launch(tx, order, now=now, actor="test")["agent_id"])
            launches.started(tx, agent_id, pid=1, start_time="1", boot_id="b", at=now, actor="test")
            live = worktrees.require_live(tx, task_id)
            assignments.placed(tx, assignment_id, path=str(path), branch=live.branch)
            assignments.started(tx, assignment_id, agent_id, now=now, actor="test")
            agents.ended(tx, agent_id, agents.Exit("completed", now), actor="test")

        self.store.run(record)

    def edit(self, path: Path, edits: "list[Edit]") -> None:
        for kind, file, line in edits:
            target = path / FILES[file]
            if kind == "bad":
                with (path / "bad").open("a") as handle:
                    handle.write(f"{self.word()}\n")
            elif kind == "create":
                (path / f"new-{self.number}.txt").write_text(f"{self.word()}\n{self.word()}\n")
            elif kind == "commit":
                self.git("add", "--all", at=path)
                self.git("commit", "--quiet", "--allow-empty", "--message=Work", at=path)
            elif target.exists():
                self.edit_file(target, kind, line)

    def edit_file(self, file: Path, kind: str, line: int) -> None:
        lines = file.read_text().splitlines()
        at = line % (len(lines) + 1)
        if kind == "unlink":
            self.deleted.update(lines)
            file.unlink()
            return
        if kind == "rename":
            file.rename(file.with_name(f"renamed-{self.number}-{file.name}"))
            self.number += 1
            return
        if kind in ("replace", "delete") and lines:
            self.deleted.update(lines[at : at + 1])
            lines[at : at + 1] = []
        if kind == "move" and lines:
            lines.append(lines.pop(at % len(lines)))
        if kind in ("replace", "add"):
            lines.insert(at, self.word())
        file.write_text("".join(f"{each}\n" for each in lines))

    def resolve(self, path: Path) -> None:
        """Keep whatever is there of both sides."""
        for name in self.git("diff", "--name-only", "-z", "--diff-filter=U", at=path).split("\0"):
            file = path / name
            if name and file.is_file():
                kept = [line for line in file.read_text().splitlines() if line.startswith("word-")]
                file.write_text("".join(f"{line}\n" for line in dict.fromkeys(kept)))
        if (path / "bad").exists():
            self.deleted.update((path / "bad").read_text().splitlines())
            (path / "bad").unlink()
        self.git("add", "--all", at=path)

    def step(self, task_id: str, edits: "list[Edit]", fault: Fault | None) -> None:
        """The next thing that is to be done for a task, by an agent or by the supervisor."""
        row = self.assignment(task_id)
        if row is None or row["status"] not in ("assigned", "running"):
            self.attempt(fault, lambda: merger.work_off(self.crew, "roadmap"))
        elif row["status"] == "running":
            self.attempt(fault, lambda: prover.prove(self.crew, row["orchestrator_task_id"]))
        elif (path := self.worktree(task_id)) is None:
            self.attempt(fault, lambda: provision.provide_worktree(self.crew, task_id))
        else:
            begun = self.store.read(
                lambda tx: tx.value("SELECT count(*) FROM agent_lifecycle WHERE task_id = ?", (task_id,))
            )
            if begun:
                live = self.store.read(worktrees.require_live, task_id)
                crashed = self.crew
                self.attempt(fault, lambda: rework.bring_in_target(self.crew, row, live))
                if crashed is not self.crew:
                    return
                self.resolve(path)
            else:
                self.edit(path, edits)
            self.agent_worked(row["orchestrator_task_id"], task_id, path)

    def tidy(self, fault: Fault | None) -> None:
        for worktree in self.store.read(worktrees.settled):
            self.attempt(fault, lambda worktree=worktree: janitor.tidy(self.crew, worktree))

    # ---------------------------------------------------------------------------------------- the verdict

    def lines_at(self, *refs: str) -> set[str]:
        """Every line of every file of every commit that can be reached."""
        objects = [line.split(" ")[0] for line in self.git("rev-list", "--objects", *refs).splitlines()]
        shown = subprocess.run(
            ["git", "-C", self.repo, "cat-file", "--batch"], input="\n".join(objects), check=True, capture_output=True,
            text=True, errors="replace",
        )  # fmt: skip
        return {line for line in shown.stdout.splitlines() if line.startswith("word-")}

    def refs(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname)").split()

    def committed(self) -> set[str]:
        """What of the words was committed at all: the rest lies in worktrees."""
        places = [Path(row.path) for row in self.store.read(worktrees.listed) if Path(row.path).exists()]
        on_disk = {
            line
            for place in places
            for file in place.rglob("*")
            if file.is_file() and ".git" not in file.parts
            for line in file.read_text().splitlines()
        }
        return self.written - on_disk

    def judge(self) -> None:
        kept = self.lines_at(*self.refs())
        assert self.committed() - self.deleted <= kept, "lines are gone"
        merged = [row["head_commit"] for row in self.store.read(
            lambda tx: tx.all("SELECT head_commit FROM merge_request WHERE status = 'merged'"))]  # fmt: skip
        for head in merged:
            self.git("merge-base", "--is-ancestor", head, "roadmap")
        now = set(self.git("grep", "-hI", "word-", "roadmap").split())
        assert (self.lines_at("main", *merged) - self.deleted) <= now, "lines that nobody deleted are not in the files"
        assert self.git("fsck", "--no-dangling", "--no-progress") == ""
        assert self.git("status", "--porcelain") == "", "the user's checkout"
        assert not list((self.repo / ".git").rglob("*.lock"))


Edit = tuple[str, int, int]
KINDS = ("add", "add", "replace", "replace", "delete", "move", "commit", "create", "rename", "unlink", "bad")
EDITS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, len(FILES) - 1), st.integers(0, LINES)), min_size=1, max_size=8
)
PLAN = st.fixed_dictionaries(
    {
        "edits": st.lists(EDITS, min_size=2, max_size=4),
        "order": st.lists(st.integers(0, 4), min_size=4, max_size=24),  # 4 is a clean-up
        "faults": st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=3),
        "check": st.booleans(),
    }
)


@contextlib.contextmanager
def world(*, check: bool) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="crewyard-lost-") as folder:
        made = World(Path(folder).resolve(), check)
        try:
            yield made
        finally:
            made.close()


def play(plan: dict[str, Any]) -> None:
    faults = [Fault(number, after) for number, after in plan["faults"]]
    with world(check=plan["check"]) as yard:
        names = [f"T{n}" for n in range(len(plan["edits"]))]
        for name in names:
            yard.add(name)
        rounds = [*plan["order"], *(n for _ in range(ROUNDS) for n in (*range(len(names)), 4))]
        for number in rounds:
            fault = next((fault for fault in faults if fault.left > 0), None)
            if number < len(names):
                yard.step(names[number], plan["edits"][number], fault)
            else:
                yard.tidy(fault)
        yard.judge()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="CREWYARD_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink] if EXAMPLES > 50 else [Phase.explicit, Phase.generate],
    database=None,
    print_blob=True,
)
@given(plan=PLAN)
def test_every_line_that_a_task_committed_is_still_there(plan: dict[str, Any]) -> None:
    play(plan)
