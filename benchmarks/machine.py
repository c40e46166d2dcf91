"""Where a benchmark ran: what its figures can be held against."""

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil


def facts() -> dict[str, str]:
    """By name, as RESULTS.md tells them. Nothing in it names the machine or its user."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "Memory": f"{memory:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "Git": _said("git", "--version").removeprefix("git version "),
        "mcp": version("mcp"),
        "Commit": _said("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"),
        "Load before": f"{os.getloadavg()[0]:.1f}",
    }


def _cpu() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
