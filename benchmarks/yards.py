"""Repositories of any size for the benchmarks, made by `git fast-import` in a moment, and crews over them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from crewyard.server import clock, lease, process, settings
from crewyard.server.crew import Crew
from crewyard.server.repository import Repository
from crewyard.server.store import Store

WHO = "Bench <bench@example.org> 1700000000 +0000"
FILES_A_FOLDER = 100


def make_repository(path: Path, files: int, branches: int, *, checked_out: bool = False) -> Path:
    """A repository whose branch ``main`` holds so many files; ``branch-N`` adds a line to one of them and a file.

    Without ``checked_out`` none of them lies in its checkout, which takes longer than all else.
    """
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    for name, value in (("user.name", "Bench"), ("user.email", "bench@example.org"), ("gc.auto", "0")):
        subprocess.run(["git", "-C", str(path), "config", name, value], check=True)
    stream = "".join([*_trunk(files), *_branches(files, branches)])
    subprocess.run(["git", "-C", str(path), "fast-import", "--quiet"], input=stream.encode(), check=True)
    if checked_out:
        subprocess.run(["git", "-C", str(path), "reset", "-q", "--hard"], check=True)
    return path


def open_crew(repo: Path) -> Crew:
    """A crew that holds the lease for a day, since nobody is there to renew it; nobody acts but the benchmark."""
    crew = Crew.of(Repository.discover(repo), settings.load(repo), Store(repo / "data" / "orchestrator.db"))
    me = process.myself()
    holder = lease.Holder("benchmark", me.pid, me.start_time, me.boot_id)
    crew.term = crew.store.run(lease.acquire, holder, now=clock.now(), uptime=clock.uptime()) or 0
    crew.store.run(lambda tx: tx.run("UPDATE supervisor_lease SET until_monotonic = until_monotonic + 86400"))
    return crew


def _trunk(files: int) -> Iterator[str]:
    yield from _commit("main", "First", None)
    for n in range(files):
        yield _file(_name(n), f"{n}\n" * 20)


def _branches(files: int, branches: int) -> Iterator[str]:
    for n in range(branches):
        yield from _commit(f"branch-{n}", f"Work {n}", "refs/heads/main")
        yield _file(_name(n * 7 % files), f"{n * 7 % files}\n" * 20 + f"line of branch {n}\n")
        yield _file(f"new/branch-{n}.txt", f"{n}\n")


def _commit(branch: str, message: str, parent: str | None) -> Iterator[str]:
    yield f"commit refs/heads/{branch}\ncommitter {WHO}\ndata {len(message)}\n{message}\n"
    if parent is not None:
        yield f"from {parent}\n"


def _file(name: str, text: str) -> str:
    return f"M 100644 inline {name}\ndata {len(text)}\n{text}\n"


def _name(n: int) -> str:
    return f"src/folder-{n // FILES_A_FOLDER}/file-{n}.txt"
