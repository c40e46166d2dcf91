import pytest

from crewyard.server.store import Store

from .line import Line


@pytest.fixture
def line(store: Store) -> Line:
    return Line(store)
