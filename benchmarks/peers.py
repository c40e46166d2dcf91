"""The programs and libraries that we measure ourselves against, each in an environment of its own.

    python benchmarks/peers.py [NAME …]

installs them, from the registries that pip and npm are set to use, into the user's cache; a benchmark asks for them by
name, and says of those that cannot be had why. Versions are pinned in ``peers.toml``, so that a figure can be repeated.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

PINS = Path(__file__).with_name("peers.toml")
SECONDS = 600


class Missing(Exception):
    """A peer that cannot be had here; its text says why."""


def folder() -> Path:
    """Where they are kept, apart for each Python and set of versions."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return home / "crewyard" / f"peers-{mark}"


@cache
def python(name: str) -> Path:
    """The Python that has this peer. Raises Missing."""
    packages = _pins("pip").get(name)
    if packages is None:
        raise Missing(f"benchmarks/peers.toml names no {name}.")
    place = folder() / name
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(place)])
        _call([str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages])
        (place / "ready").touch()
    return place / "bin" / "python"


@cache
def program(name: str) -> Path:
    """A peer that is a program: of the system, of a Python package, or of an npm package. Raises Missing."""
    if name in _pins("pip"):
        return python(name).with_name(name)
    if name in _pins("npm"):
        return _of_npm(name)
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed; it comes with the system's packages.")
    return Path(found)


def _of_npm(name: str) -> Path:
    place = folder() / name
    if not (place / "ready").exists():
        if shutil.which("npm") is None:
            raise Missing("npm is not installed.")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        _call(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(place), *_pins("npm")[name]])
        (place / "ready").touch()
    return place / "node_modules" / ".bin" / name


def _pins(kind: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = tomllib.loads(PINS.read_text(encoding="utf-8")).get(kind, {})
    return found


def _call(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise Missing(f"{Path(command[0]).name} failed: {last[0][:200]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(str(error)[:200]) from error


def main() -> None:
    for name in sys.argv[1:] or [*_pins("pip"), *_pins("npm")]:
        try:
            print(f"{name}: {program(name) if name in _pins('npm') else python(name)}")
        except Missing as error:
            print(f"{name}: {error}")


if __name__ == "__main__":
    main()
