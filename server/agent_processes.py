"""Which processes an agent has: its runner and itself, each by its identity, and whether they live."""

from pathlib import Path

from . import clock, journals, launches, process
from .process import Identity
from .store import Row
from .usage import Tree


def runner_lives(row: Row) -> bool:
    """Whether the agent's runner runs, or is only just being started."""
    who = runner_identity(row)
    if who is not None:
        return process.is_alive(who)
    # A claim without a name in it is a runner in its first microsecond, or one that died there.
    claimed = (Path(row["run_dir"]) / "claim").exists()
    return claimed and clock.seconds_between(row["created_at"], clock.now()) < launches.CLAIM_SECONDS


def runner_identity(row: Row) -> Identity | None:
    """The runner as it put itself down in its claim, or as recorded where it has not come to that."""
    claim = journals.runner_of(Path(row["run_dir"]))
    if claim is not None and row["boot_id"] in (None, process.boot_id()):
        return Identity(*claim, process.boot_id())
    if row["runner_pid"] is not None:
        return Identity(row["runner_pid"], row["runner_start_time"], row["boot_id"])
    return None


def agent_identity(row: Row) -> Identity | None:
    """The agent itself, as far as it was started."""
    return None if row["pid"] is None else Identity(row["pid"], row["pid_start_time"], row["boot_id"])


def tree_of(row: Row) -> Tree:
    """The agent's processes."""
    return Tree(runner_identity(row), agent_identity(row))
