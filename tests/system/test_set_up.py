"""The set-up of a fresh clone, as far as it says no: what it installs, every other run of these tests shows."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-s", "-C", ROOT, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
    )


@pytest.mark.parametrize("unusable", ["/no/such/python", "false"])
def test_without_a_usable_python_it_says_which_one_it_needs(unusable: str) -> None:
    done = make("venv", f"PYTHON={unusable}")

    assert done.returncode != 0
    assert "Crewyard needs Python 3.11 or newer" in done.stderr
    assert unusable in done.stderr
    assert done.stdout == "", "stdout may be the protocol's"


def test_make_alone_lists_what_can_be_made() -> None:
    listed = make().stdout

    for target in ("demo", "test", "check"):
        assert f"{target} " in listed
