"""Real clients and agents from npm, in the versions of package.json, installed once into the user's cache."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

NEEDED = Path(__file__).with_name("package.json")
# Read before a fixture makes HOME nobody's: npm finds its registry in the user's configuration.
HOME = Path.home()
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or HOME / ".cache") / "crewyard"
OLDEST_NODE = 20
# What says that nothing of the network was reached, and not that a package is wrong.
NO_REGISTRY = re.compile(r"\b(ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH)\b")
# Bounded: where there is no network, this is what a run of the tests loses.
PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=3000")
INSTALL_SECONDS = 900

PACKAGES = {
    "claude": "@anthropic-ai/claude-code",
    "claude-330": "claude-code-330",
    "codex": "@openai/codex",
    "gemini": "@google/gemini-cli",
    "inspector": "@modelcontextprotocol/inspector",
    "opencode": "opencode-ai",
}


class Missing(Exception):
    """Without this no client can be installed here."""


def install() -> Path:
    """The folder with all of them; raises Missing where npm or its registry is not there, RuntimeError for the rest."""
    npm = _npm()
    folder = CACHE / f"clients-{hashlib.sha256(NEEDED.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        if not os.environ.get("CREWYARD_INSTALL_CLIENTS"):
            raise Missing("the programs are not installed; `make test-clients` does that (1.6 GB from npm)")
        try:
            CACHE.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Missing(f"{CACHE} cannot be made: {error.strerror}") from error
        with _only_one_at_a_time():
            if not folder.is_dir():
                _fill(npm, folder)
    return folder


def executable(folder: Path, program: str) -> Path:
    """The file that a package starts: by npm's links two versions of one program would have the same name."""
    package = folder / "node_modules" / PACKAGES[program]
    [file] = json.loads((package / "package.json").read_text())["bin"].values()
    return package / str(file)


def _npm() -> str:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise Missing("npm is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        raise Missing(f"Node.js {version} is too old: {OLDEST_NODE} is needed")
    return npm


def _fill(npm: str, folder: Path) -> None:
    for left in CACHE.glob(".unfinished-*"):  # by an install that was killed: nobody else has the lock
        shutil.rmtree(left, ignore_errors=True)  # but its npm, which may write for a moment yet
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=CACHE, ignore_cleanup_errors=True) as made:
        inside = Path(made) / "clients"
        inside.mkdir()
        shutil.copy(NEEDED, inside)
        # No lock file: it would name the registry of whoever made it.
        command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", *PATIENCE]
        done = subprocess.run(
            command,
            cwd=inside,
            env={**os.environ, "HOME": str(HOME)},
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode and (found := NO_REGISTRY.search(done.stderr)):
            raise Missing(f"npm cannot reach its registry ({found[1]})")
        if done.returncode:
            raise RuntimeError(f"npm install failed with {done.returncode}:\n{done.stderr[-2000:]}")
        inside.rename(folder)


@contextlib.contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    with (CACHE / ".clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
