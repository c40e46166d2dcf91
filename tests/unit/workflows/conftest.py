from pathlib import Path

import pytest

from crewyard.server.settings import Settings
from crewyard.server.store import Store
from crewyard.server.yard import Yard

from ..conftest import Bench, StandIn
from .line import SETTINGS, Line


@pytest.fixture
def line(store: Store) -> Line:
    return Line(store)


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> Bench:
    """As that of the other tests, with workflows."""
    settings = Settings.model_validate(
        {
            "crew": {"default_agent": "builder"},
            "agents": {"builder": {"kind": "command", "command": ["true"]}},
            "workflows": SETTINGS,
        }
    )
    operations = StandIn()
    return Bench(Yard(tmp_path, settings, lambda: operations), store, operations)
