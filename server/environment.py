"""What an agent gets of our environment: a short list, what the user names, and ``CREWYARD_*`` (design 5)."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ALLOWED = (
    "HOME", "LANG", "LANGUAGE", "LOGNAME", "NODE_EXTRA_CA_CERTS", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE",
    "TERM", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
)  # fmt: skip
# A commit of an agent's would begin to collect garbage beside the others' worktrees (C-36).
NO_GARBAGE_COLLECTION = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "gc.auto",
    "GIT_CONFIG_VALUE_0": "0",
    "GIT_CONFIG_KEY_1": "maintenance.auto",
    "GIT_CONFIG_VALUE_1": "false",
}
AGENT_TOKEN = "CREWYARD_AGENT_TOKEN"  # noqa: S105  (a variable's name)
REPOSITORY = "CREWYARD_REPOSITORY"


def of_agent(root: Path, token: str) -> dict[str, str]:
    """What tells a Crewyard that an agent starts who that is, and of which repository's crew."""
    return {AGENT_TOKEN: token, REPOSITORY: str(root)}


def agent_token(root: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token of the agent that we are started by, where it is of this repository's crew.

    An agent that works with other repositories, such as those of its tests, is nobody there.
    """
    token = environ.get(AGENT_TOKEN) or None
    home = environ.get(REPOSITORY) or None
    return token if home is None or Path(home).resolve() == root.resolve() else None


def for_child(named: Sequence[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Our environment cut down to what a child may see; never our virtual environment or Python settings."""
    kept = {
        name: value for name, value in environ.items() if name in ALLOWED or name in named or name.startswith("LC_")
    }
    if sys.prefix != sys.base_prefix and "PATH" in kept and "PATH" not in named:
        ours = Path(sys.prefix) / "bin"
        kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if Path(part) != ours)
    return kept if "GIT_CONFIG_COUNT" in kept else {**kept, **NO_GARBAGE_COLLECTION}
