"""How the tests of a project like this one are usually called, told from files at its root. Nothing is run."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = re.compile(r"^test\s*:(?!=)", re.MULTILINE)
NONE_YET = "no test specified"  # what `npm init` writes


@dataclass(frozen=True)
class Usual:
    """``check`` runs the tests; ``setup`` makes a fresh checkout fit for them, where that takes anything.

    ``sign`` is what was found, as a person would say it.
    """

    sign: str
    check: list[str]
    setup: list[str]


def of(root: Path) -> Usual | None:
    """What suits the project at ``root``; None where nothing tells."""
    return next((found for look in (_make, _npm, _python, _cargo, _go) if (found := look(root)) is not None), None)


def _make(root: Path) -> Usual | None:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if TARGET.search(_text(root / name)):
            return Usual(f"the target `test` in {name}", ["make", "test"], [])
    return None


def _npm(root: Path) -> Usual | None:
    scripts = _parsed(root / "package.json", json.loads).get("scripts")
    test = scripts.get("test") if isinstance(scripts, dict) else None
    if not isinstance(test, str) or NONE_YET in test:
        return None
    by = next((by for lock, by in (("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn")) if (root / lock).exists()), "npm")
    install = "ci" if by == "npm" and (root / "package-lock.json").exists() else "install"
    return Usual("the script `test` in package.json", [by, "test"], [by, install])


def _python(root: Path) -> Usual | None:
    tools = _parsed(root / "pyproject.toml", tomllib.loads).get("tool")
    if (root / "pytest.ini").exists():
        sign = "pytest.ini"
    elif isinstance(tools, dict) and "pytest" in tools:
        sign = "pytest's table in pyproject.toml"
    else:
        return None
    by_uv = (root / "uv.lock").exists()
    return Usual(sign, ["uv", "run", "pytest"] if by_uv else ["python3", "-m", "pytest"], [])


def _cargo(root: Path) -> Usual | None:
    return Usual("Cargo.toml", ["cargo", "test"], []) if (root / "Cargo.toml").exists() else None


def _go(root: Path) -> Usual | None:
    return Usual("go.mod", ["go", "test", "./..."], []) if (root / "go.mod").exists() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def _parsed(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """What the file holds; nothing where it is not there or broken."""
    try:
        found = parse(_text(path))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
