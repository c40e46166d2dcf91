"""Names that come from outside, checked before any of them becomes a path, a ref or an option."""

import re
import string
from pathlib import PurePosixPath

# Starts with a letter or digit, so that no id is an option; no slash, so that no id is a path.
TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
AGENT_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# Types of agents that need no configuration: the program of that name as it is, and the scripted one.
BUILT_IN = ("claude", "codex", "gemini", "opencode", "scripted")
TASK_ID_RULE = "letters, digits, '.', '_' and '-', at most 100, starting with a letter or digit"


def is_safe_task_id(task_id: str) -> bool:
    """Whether ``task_id`` can stand in a branch name and a folder name as it is."""
    return bool(TASK_ID.fullmatch(task_id)) and ".." not in task_id and not task_id.endswith((".", ".lock"))


def check_agent_type(name: str) -> None:
    """Raises ValueError where ``name`` cannot be an agent type."""
    if not AGENT_TYPE.fullmatch(name):
        raise ValueError(f"{name!r} is no name for an agent: letters, digits, '_' and '-', starting with a letter")


def check_folder(folder: str) -> None:
    """Raises ValueError where ``folder`` cannot be one of the repository's: no pattern, no option, nothing above it."""
    path = PurePosixPath(folder)
    if not path.parts or path.is_absolute() or ".." in path.parts or re.search(r'^[-!]|[\x00-\x1f*?\[\]\\"]', folder):
        raise ValueError(f"{folder!r} is no folder of the repository")


def check_template(key: str, template: str) -> None:
    """Raises ValueError unless ``template`` has {task_id} and no other placeholder."""
    try:
        fields = [parts[1:] for parts in string.Formatter().parse(template) if parts[1] is not None]
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
    if fields != [("task_id", "", None)]:
        raise ValueError(f"{key} must hold {{task_id}} once and no other placeholder")


def check_apart(target: str, branch: str) -> None:
    """Raises ValueError where git cannot hold both branches, because one name would be a folder in the other."""
    if target == branch or branch.startswith(f"{target}/") or target.startswith(f"{branch}/"):
        raise ValueError(f"it gives {branch!r}, which git cannot hold beside the integration branch {target!r}")


def check_branch(key: str, branch: str) -> None:
    """Raises ValueError where ``branch`` cannot name a branch (git check-ref-format)."""
    bad = re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)", branch)
    if (
        not branch
        or bad
        or branch.startswith(("-", "/", "."))
        or branch.endswith(("/", "."))
        or branch in ("@", "HEAD")
    ):
        raise ValueError(f"{key}: {branch!r} is no valid branch name")
