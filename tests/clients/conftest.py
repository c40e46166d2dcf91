"""Real programs, scripted models, a real repository. Skipped, with the reason, where the programs cannot be had."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from yards import script_fixture, wait_until_fixture, yard

from . import programs
from .desk import Desk
from .models import Models, Scenario

__all__ = ["script_fixture", "wait_until_fixture", "yard"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first of them may have to install the programs."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(programs.INSTALL_SECONDS + 300))


@pytest.fixture(scope="session")
def installed() -> Path:
    """The folder of the programs."""
    try:
        return programs.install()
    except programs.Missing as missing:
        pytest.skip(f"real clients are not tried: {missing}")


@pytest.fixture
def sit(installed: Path, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """``sit(*scenarios, claude=...)``: a desk whose models follow these."""
    opened: list[Models] = []

    def down(*scenarios: Scenario, **options: Any) -> Desk:
        opened.append(Models(scenarios).__enter__())
        return Desk(tmp_path / f"desk{len(opened)}", opened[-1], installed, **options)

    yield down
    _close(opened)


def _close(opened: Sequence[Models]) -> None:
    for models in opened:
        models.__exit__(None, None, None)
