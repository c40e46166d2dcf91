"""Where Crewyard keeps what, in a repository."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import Settings


class InData:
    """The places that follow from the data folder alone."""

    @property
    def data(self) -> Path:
        raise NotImplementedError

    @property
    def database(self) -> Path:
        return self.data / "orchestrator.db"

    @property
    def own(self) -> Path:
        """The folder in which everything is ours."""
        return self.data / "crewyard"

    @property
    def runs(self) -> Path:
        """A folder an agent: its prompt, its output, its runner's journal."""
        return self.own / "agents"

    @property
    def checks(self) -> Path:
        """Private worktrees in which merged trees are checked."""
        return self.own / "checks"

    @property
    def garbage_log(self) -> Path:
        """Output of git's collecting garbage, while it does."""
        return self.own / "gc.log"

    def merge_log(self, merge_id: int, term: int) -> Path:
        """Output of the check on a merged tree; the tree itself lies beside it, without ``.log``.

        With the term in its name, a supervisor that was stopped and wakes late spoils nothing of its successor's.
        """
        return self.checks / f"merge-{merge_id}-term-{term}.log"

    def merge_logs(self, merge_id: int) -> list[Path]:
        """Those of all terms."""
        return sorted(self.checks.glob(f"merge-{merge_id}-term-*.log"))

    @property
    def bell(self) -> Path:
        return self.own / "bell"

    @property
    def daemon_record(self) -> Path:
        """Who the daemon is, and where it listens."""
        return self.own / "daemon.json"

    @property
    def daemon_lock(self) -> Path:
        """Locked by the daemon for as long as it lives."""
        return self.own / "daemon.lock"

    @property
    def daemon_turn(self) -> Path:
        """Locked by whoever starts or stops the daemon, meanwhile."""
        return self.own / "daemon.turn"

    @property
    def daemon_port(self) -> Path:
        """The port that the last daemon chose: agents that outlive it were told of it."""
        return self.own / "daemon.port"

    @property
    def daemon_log(self) -> Path:
        return self.own / "daemon.log"

    @property
    def configuration_checked(self) -> Path:
        """What of the configuration was last found good: it need not be checked anew each time somebody looks."""
        return self.own / "configuration.checked"

    @property
    def setups(self) -> Path:
        """What the setting ``worktree.setup`` printed, a file a task or merge."""
        return self.own / "setups"

    def setup_log(self, subject: str) -> Path:
        return self.setups / f"{subject}.log"


@dataclass(frozen=True)
class DataFolder(InData):
    """Those places, for who looks without the settings."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder


@dataclass(frozen=True)
class Paths(InData):
    """All the places of one repository; nothing else builds them."""

    root: Path
    settings: "Settings"

    @property
    def data(self) -> Path:
        return self.root / self.settings.crew.data_dir

    def worktree(self, task_id: str) -> Path:
        return (self.root / self.settings.crew.worktree_path.format(task_id=task_id)).resolve()

    @property
    def worktrees(self) -> Path:
        """The folder that all worktrees lie in."""
        above = self.settings.crew.worktree_path.partition("{")[0]
        return (self.root / f"{above}x").resolve().parent

    def pooled(self, worktree_id: int) -> Path:
        """Where a task's worktree waits for the next task: in the same file system, under a name of its own."""
        return self.worktrees / f"pool-{worktree_id}"

    def branch(self, task_id: str) -> str:
        return self.settings.crew.branch_name.format(task_id=task_id)

    def excludes(self) -> list[str]:
        """Patterns for ``.git/info/exclude``: our files only, so that a ``data`` folder of the user's stays visible."""
        data = f"/{self.settings.crew.data_dir.strip('/')}"
        patterns = [f"{data}/orchestrator.db*", f"{data}/metrics.db*", f"{data}/crewyard/"]
        worktrees = Path(self.settings.crew.worktree_path.partition("{")[0] + "x").parent
        if not worktrees.is_absolute() and worktrees.parts and worktrees.parts[0] not in (".", ".."):
            patterns.append(f"/{worktrees.as_posix()}/")
        if (workflows := self.settings.workflows) is not None and workflows.shared_state:
            patterns.append(f"/{workflows.shared_state.strip('/')}/")
        return patterns
