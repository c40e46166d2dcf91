"""``crewyard demo``: a crew works a small plan off in a throw-away repository. No key, no model, no network.

The repository's files lie in ``demonstration``. Its agents are scripted, but everything else is what ``crewyard run``
does: processes, worktrees, checks, merges. What is said at the end is read from the database and from git afterwards.
"""

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from . import demo_evidence, environment, graph, headless, merging, settings, terminal, views
from .errors import GitError, InvalidInput
from .headless import Begun
from .repository import Repository

FILES = Path(__file__).with_name("demonstration")
PLAN = "plan.md"
# The demonstration has to work whatever the person's own git configuration asks for.
GIT_SETTINGS = {
    "commit.gpgSign": "false",
    "core.hooksPath": os.devnull,
    "core.excludesFile": "",
    "core.autocrlf": "false",
}
TESTS = ("python3", "-m", "unittest")
PROGRAM = ("python3", "-m", "textstats", "sample.txt")
PROGRAM_SECONDS = 60.0


def show(folder: Path | None) -> int:
    """Run it; returns the exit code: 0 when all went as planned, 1 when not, 130 when interrupted.

    Raises InvalidInput for a folder that is not empty.
    """
    root = make_repository(folder)
    # Nothing of the person's own settings: CREWYARD_* variables are for his repositories.
    prepared = headless.prepare(
        root, root / PLAN, lambda where: settings.load(where, {}), max_parallel=None, agent=None
    )
    begun = headless.begin(prepared)
    console = Console(highlight=False, soft_wrap=True)
    _introduce(console, begun, prepared.max_parallel)
    with headless.interruptible() as signals, terminal.progress_of(begun) as view:
        headless.work_off(begun, view.look, signals)
    try:
        if begun.interrupted:
            console.print(f"\nInterrupted; the work done is kept in {root}.", markup=False)
            _where_to_look(console, begun, None)
            return 130
        return _tell(console, begun)
    finally:
        begun.crew.store.close()


def make_repository(folder: Path | None) -> Path:
    """A git repository with the program to be extended and its plan, committed; returns its root."""
    if folder is None:
        root = Path(tempfile.mkdtemp(prefix="crewyard-demo-")).resolve()
    else:
        root = folder.resolve()
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise InvalidInput(f"{root} is not an empty folder.", hint="Give --folder a new or an empty one.")
        root.mkdir(parents=True, exist_ok=True)
    shutil.copytree(FILES, root, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    _name_the_interpreter(root)
    with contextlib.suppress(GitError):
        Repository.discover(root)  # for what it does besides: it forgets the hook's repository that we may run in
    repository = Repository(root)
    repository.git("init", "--quiet", "--template=", "--initial-branch=main")
    for name, value in GIT_SETTINGS.items():
        repository.git("config", name, value)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "-m", "Begin textstats", env=repository.identity())
    return root


def _name_the_interpreter(root: Path) -> None:
    """Where the agents' PATH has no ``python3``, the plan and its checks name ours by its path."""
    if shutil.which("python3", path=environment.for_child([]).get("PATH")) is None:
        for file, name in ((root / PLAN, shlex.quote(sys.executable)), (root / settings.FILE_NAME, sys.executable)):
            file.write_text(file.read_text(encoding="utf-8").replace("python3", name), encoding="utf-8")


def _introduce(console: Console, begun: Begun, max_parallel: int) -> None:
    console.print(
        f"A throw-away repository with a small program: {begun.crew.root}\n"
        f"{len(begun.task_ids)} tasks, {max_parallel} scripted agents at a time: real processes, each in a worktree.\n"
        "One agent is made to crash, and two tasks change the same lines.\n",
        markup=False,
    )


def _tell(console: Console, begun: Begun) -> int:
    """What happened, and the exit code that follows from it."""
    crew = begun.crew
    evidence = crew.store.read(demo_evidence.gather, begun.dispatch_id or "")
    faults = demo_evidence.faults(evidence, crew.repository, crew.target)
    _head(console, "The plan")
    views.print_graph(crew.store.read(graph.snapshot))
    _head(console, f"git log --graph --oneline {crew.target}")
    console.print(crew.repository.git("log", "--graph", "--oneline", "--no-color", crew.target), markup=False)
    _head(console, f"The finished program, on branch {crew.target}")
    faults += _run_program(console, begun)
    _head(console, "What happened")
    for line in demo_evidence.sentences(evidence):
        console.print(f"- {line}", markup=False, soft_wrap=not console.is_terminal)
    _head(console, "Where to look")
    _where_to_look(console, begun, evidence.restarts[0]["agent_id"] if evidence.restarts else None)
    for fault in faults:
        console.print(Text(f"Not as planned: {fault}", style="red"), soft_wrap=not console.is_terminal)
    return 1 if faults else 0


def _run_program(console: Console, begun: Begun) -> list[str]:
    """Run its tests and the program itself on what was merged, showing what they print; returns what failed."""
    crew, faults = begun.crew, []
    tip = crew.repository.require_tip(crew.target)
    log = crew.paths.checks / "demo.log"
    with merging.checked_out(crew.repository, crew.paths.checks / "demo", tip) as checkout:
        for command in (TESTS, PROGRAM):
            known = shutil.which(command[0], path=environment.for_child([]).get("PATH"))
            done = crew.runners.check(
                (known or sys.executable, *command[1:]), cwd=checkout, log=log, timeout_seconds=PROGRAM_SECONDS,
                environment=environment.for_child([]),
            )  # fmt: skip
            console.print(f"$ {shlex.join(command)}\n{log.read_text(encoding='utf-8').strip()}", markup=False)
            if done.code != 0:
                faults.append(f"`{shlex.join(command)}` ended with {done.code}.")
    log.unlink()
    return faults


def _where_to_look(console: Console, begun: Begun, crashed_agent: str | None) -> None:
    root, command = begun.crew.root, own_command()
    repo = shlex.quote(str(root))
    lines = {
        "the program made": f"cd {repo} && git switch {begun.crew.target}",
        "the plan's file": shlex.quote(str(root / PLAN)),
        "the plan's tasks": f"{command} plan show --repo {repo}",
        "how it stands": f"{command} status --repo {repo}",
    }
    if crashed_agent:
        lines["the crash"] = f"{command} logs {crashed_agent} --repo {repo}"
    if begun.interrupted:
        lines["going on"] = f"{command} run {shlex.quote(str(root / PLAN))} --repo {repo}"
    lines["seen enough"] = f"rm -r {repo}"
    for what, line in lines.items():
        console.print(f"  {what:<17}  {line}", markup=False)


def own_command() -> str:
    """How this program was called, so that the same words work again in this shell."""
    called = Path(sys.argv[0])
    found = shutil.which("crewyard")
    if called.name != "crewyard":
        return f"{shlex.quote(sys.executable)} -m crewyard.server.cli"
    return "crewyard" if found and Path(found).resolve() == called.resolve() else shlex.quote(str(called))


def _head(console: Console, text: str) -> None:
    console.print(Text(f"\n{text}", style="bold"))
