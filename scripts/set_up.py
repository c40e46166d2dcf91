"""Makes .venv from the committed lock, or does nothing when it is as the lock says. Used by the Makefile.

    python3 scripts/set_up.py run|dev

`run` installs what the program needs (requirements.lock), `dev` also what its checks need (requirements-dev.lock).
Both hold exact versions with hashes, so a fresh clone gets what was tested. Everything is said on stderr, because
stdout may be the MCP protocol's (.mcp.json). Only the standard library, and readable by any Python 3, so that an old
one can be told so.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
# There while anything is being installed: a set-up that was interrupted is never believed.
UNFINISHED = VENV / ".unfinished"
LOCKS = {"run": ROOT / "requirements.lock", "dev": ROOT / "requirements-dev.lock"}
# `dev` holds all of `run`, at the same versions.
PROVIDES = {"run": ("run",), "dev": ("run", "dev")}


def main(wanted):
    with only_one_at_a_time():
        if is_ready(wanted):
            return
        say("Setting up .venv with Python {}.{} (once) ...".format(*sys.version_info[:2]))
        if not can_be_built_upon():
            create()
        UNFINISHED.touch()
        pip("install", "--no-deps", "--require-hashes", "--requirement", str(LOCKS[wanted]))
        pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        for name in PROVIDES[wanted]:
            stamp(name).write_text(fingerprint(name))
        UNFINISHED.unlink()


def is_ready(name):
    return not UNFINISHED.exists() and stamp(name).exists() and stamp(name).read_text() == fingerprint(name)


def can_be_built_upon():
    """Whether .venv is complete, at this place and of this Python, so that only what differs has to be installed."""
    stamps = [stamp(name) for name in LOCKS if stamp(name).exists()]
    return not UNFINISHED.exists() and any(path.read_text().startswith(place()) for path in stamps)


def create():
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        sys.exit(
            "{} cannot make virtual environments (on Debian and Ubuntu: apt-get install python3-venv). "
            "To use another Python: make PYTHON=/path/to/python3".format(sys.executable)
        )
    if VENV.is_symlink() or VENV.is_file():
        sys.exit("{} is no folder; move it away and try again.".format(VENV))
    shutil.rmtree(str(VENV), ignore_errors=True)
    VENV.mkdir()
    UNFINISHED.touch()
    venv.EnvBuilder(with_pip=True, symlinks=True).create(VENV)


def pip(*arguments):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(
        [str(VENV / "bin" / "python"), "-m", "pip", "-qq", "--no-input", *arguments],
        cwd=str(ROOT),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        sys.exit("pip could not install {}; its reason stands above.".format(arguments[-1]))


def stamp(name):
    return VENV / ".installed-{}".format(name)


def fingerprint(name):
    digest = hashlib.sha256(LOCKS[name].read_bytes() + (ROOT / "pyproject.toml").read_bytes())
    return "{}\n{}\n".format(place(), digest.hexdigest())


def place():
    # A virtual environment holds absolute paths: a checkout that was moved needs a new one.
    return "{} {}.{}".format(ROOT, *sys.version_info[:2])


@contextlib.contextmanager
def only_one_at_a_time():
    """Two set-ups at once (.mcp.json and `make test`) wait for each other; the kernel frees the lock of a dead one."""
    folder = os.open(str(ROOT), os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Waiting for another set-up of .venv ...")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit("Crewyard needs Python 3.11 or newer; {} is {}.{}.".format(sys.executable, *sys.version_info[:2]))
    if len(sys.argv) != 2 or sys.argv[1] not in LOCKS:
        sys.exit("usage: python3 scripts/set_up.py run|dev")
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
