"""Puts a yard together: a repository, its settings and the doors to git and processes. Imports no ``mcp``.

The doors are made when first asked for: a server answers its client before it needs them, and importing GitPython and
what supervises takes a tenth of its start-up time.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from . import environment, locating
from . import settings as configuration
from .settings import Settings
from .yard import Operations, Supervisor, Yard


def build_yard(root: Path, environ: Mapping[str, str] = os.environ) -> Yard:
    """The yard of the repository at ``root``. Raises ConfigurationError, GitError."""
    root = locating.root_of(root)
    settings = configuration.load(root, environ)
    token = environment.agent_token(root, environ)
    if token:
        return Yard(root, settings, partial(_operations, root, settings), token=token)
    return Yard(root, settings, partial(_operations, root, settings), supervise=partial(_supervisor, root, settings))


def _operations(root: Path, settings: Settings) -> Operations:
    from .operations import GitOperations

    return GitOperations(root, settings)


def _supervisor(root: Path, settings: Settings) -> Supervisor:
    from .operations import supervisor_of_server

    return supervisor_of_server(root, settings)
