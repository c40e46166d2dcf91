"""What many tests need: a real database, a real git repository, and an environment that is nobody's."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crewyard.server.store import Store, Transaction

Insert = Callable[..., Any]
Git = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def nobodys_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the configuration of whoever runs it: neither git's, nor ours, nor that of a hook we run in."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "CREWYARD_"))]:
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("GIT_TERMINAL_PROMPT", "0")
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where ``store`` keeps its file."""
    return tmp_path / "data" / "orchestrator.db"


@pytest.fixture
def store(database: Path) -> Iterator[Store]:
    opened = Store(database)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def insert() -> Insert:
    """``insert(tx, table, **columns)``: one row as it stands, past the domain; returns its rowid or None."""

    def into(tx: Transaction, table: str, **columns: Any) -> Any:
        names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        tx.run(f"INSERT INTO {table} ({names}) VALUES ({marks})", columns)
        return tx.value("SELECT last_insert_rowid()")

    return into


@pytest.fixture(scope="session")
def git() -> Git:
    """``git(folder, *arguments)``: what it prints, without the last newline."""

    def run(folder: Path, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.removesuffix("\n")

    return run


@pytest.fixture
def git_repo(tmp_path: Path, git: Git) -> Path:
    """A repository with one commit on branch main."""
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    git(repo, "config", "user.name", "Test")
    git(repo, "config", "user.email", "test@example.org")
    (repo / "README.md").write_text("# A project\n")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message=First")
    return repo
