"""The short form of `make steps`: a run is killed at some of the git commands that change something."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # one script imports the other
    specification.loader.exec_module(module)
    return module


load("chaos")
steps = load("every_step")

# Each kind of command once; what `make steps` does at all of them.
SAMPLE = [
    ("update-ref#1", "torn-50", False),
    ("worktree-add#2", "torn-50", False),
    ("worktree-add#6", "torn-50", False),
    ("commit#2", "torn-0", False),
    ("merge-tree#1", "before", False),
    ("commit-tree#1", "after", False),
    ("update-ref#2", "after", False),
    ("merge#1", "torn-0", False),
    ("worktree-remove#2", "meanwhile", False),
    ("update-ref-d#1", "torn-0", False),
    ("merge-ff#1", "torn-50", True),
    ("merge-ff#1", "alone-0", True),
    ("merge-ff#2", "after", True),
]


@pytest.mark.parametrize(("point", "how", "followed"), SAMPLE)
def test_a_run_that_is_killed_at_a_step_of_git_is_gone_on_with_and_loses_nothing(
    point: str, how: str, followed: bool, tmp_path: Path
) -> None:
    done = steps.play(tmp_path / "yard", point, how, followed=followed)
    place = "--followed" if followed else "--elsewhere"
    assert done.wrong == [], f"again: python scripts/every_step.py {place} --how {how} --only '{point}'"
    assert done.struck, "no such command was met"
