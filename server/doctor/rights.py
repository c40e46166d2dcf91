"""Who else may read or change what is ours: tokens, prompts, agents' output."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..settings import FILE_NAME
from .patient import SHOWN, Finding, Patient, fine, problem, shown, warning


def rights(patient: Patient) -> Iterator[Finding]:
    data = patient.data
    ours = [data.database, data.database.with_name("metrics.db"), data.own, data.daemon_record, data.daemon_log]
    ours += sorted(data.runs.iterdir()) if data.runs.is_dir() and os.access(data.runs, os.R_OK) else []
    there = [path for path in ours if path.exists()]
    if not there:
        yield fine("nothing of ours is there yet")
        return
    foreign = [path for path in there if path.stat().st_uid != os.geteuid() and os.geteuid() != 0]
    if foreign:
        yield problem(f"{shown(foreign)} belong to another user.", f"`sudo chown -R $(id -un) -- {data.data}`")
    open_ones = [path for path in there if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_ones:
        yield warning(
            f"Others may look into {shown(open_ones)}, where tokens and agents' output lie.",
            "`chmod -R go-rwx -- " + " ".join(str(path) for path in open_ones[:SHOWN]) + "`",
        )
    if data.data.stat().st_mode & stat.S_IWOTH:
        yield warning(f"Anybody may put files in the place of ours in {data.data}.", f"`chmod o-w -- {data.data}`")
    if os.statvfs(data.data).f_flag & os.ST_RDONLY:
        yield problem(
            f"{data.data} lies on a file system that is mounted read-only.",
            "Mount it for writing, or set data_dir in [crew] to a folder elsewhere.",
        )
    elif not os.access(data.data, os.W_OK | os.X_OK):
        yield problem(f"{data.data} cannot be written to.", f"`chmod u+rwx -- {data.data}`")
    if not (foreign or open_ones):
        yield fine("what is ours is for its owner only")
    if patient.root is not None:
        yield from _of_settings(patient.root / FILE_NAME)


def _of_settings(path: Path) -> Iterator[Finding]:
    """Whoever may write the file decides which commands run as you."""
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o022:
        yield warning(f"Others may write {path}, which names commands that run as you.", f"`chmod go-w -- {path}`")
