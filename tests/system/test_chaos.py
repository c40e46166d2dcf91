"""The short form of `make chaos`: one round of each kind of strike, and the judge itself put to the proof."""

import importlib.util
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "scripts" / "chaos.py"
KINDS = [
    "the server",
    "a runner",
    "an agent",
    "runners' parent",
    "all runners",
    "everything",
    "the machine",
    "server stopped",
]


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("chaos", PATH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["chaos"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


chaos = load()


def test_each_kind_of_strike_has_its_round_here() -> None:
    assert list(chaos.STRIKES) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_r035_a_run_survives_that_somebody_kills(kind: str, tmp_path: Path) -> None:
    done = chaos.play(KINDS.index(kind) + 1, kind, tmp_path / "yard", quick=True)
    assert done.wrong == [], f"again: python scripts/chaos.py --rounds 1 --seed {done.seed} --only '{kind}'"
    assert done.hit, "nothing was there to be struck"
    assert done.merges == chaos.TASKS
    assert done.launches >= chaos.TASKS


def test_the_judge_finds_what_is_lost_doubled_or_left(tmp_path: Path, wait_until: Callable[..., float]) -> None:
    yard = chaos.Yard(tmp_path / "yard", random.Random(1), quick=True)
    yard.make()
    run = yard.start()
    assert run.wait(60) == 0
    done = chaos.Round(1, "the server")
    chaos.judge(yard, [run], done)
    assert done.wrong == []
    with yard.launches.open("a") as file:
        file.write("T00 1 begins\nT01 2 begins\nT01 1 ends\n")
    yard.git("update-ref", "refs/heads/roadmap", "roadmap~1")
    yard.git("worktree", "add", "--quiet", "-b", "left", str(tmp_path / "left"))
    stray = subprocess.Popen(["sleep", "600"], env={"CREWYARD_PROMPT_FILE": str(yard.repo / "x")}, cwd="/")
    try:
        wait_until(yard.agents)
        for part in (*chaos.of_tasks(yard, [run]), *chaos.of_attempts(yard), *chaos.of_processes(yard)):
            done.wrong.append(part)
        done.wrong += chaos.of_git(yard)
    finally:
        yard.end_everything()
        stray.wait()
    words = [
        "11 commits",
        "more than is on record",
        "still at work",
        "1 processes are left",
        "worktrees are left",
        "branches are left",
    ]
    assert [word for word in words if not any(word in line for line in done.wrong)] == []
    assert stray.returncode == -signal.SIGKILL
