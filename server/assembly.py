"""Puts a yard together: a repository, its settings and the doors to git and processes. Imports no ``mcp``."""

import os
from collections.abc import Mapping
from pathlib import Path

from . import environment
from . import settings as configuration
from .repository import Repository
from .yard import Yard


def build_yard(root: Path, environ: Mapping[str, str] = os.environ) -> Yard:
    """The yard of the repository at ``root``. Raises ConfigurationError, GitError."""
    from .operations import GitOperations, supervising

    root = Repository.discover(root).root
    settings = configuration.load(root, environ)
    token = environment.agent_token(root, environ)
    operations = GitOperations(root, settings)
    if token:
        return Yard(root, settings, operations, token=token)
    return Yard(root, settings, operations, supervise=supervising(root, settings))
