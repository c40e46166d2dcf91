"""A repository with workflows whose workers are scripted, used from a terminal."""

import json
import os
import subprocess
from typing import Any

from yards import CREWYARD, Yard, script

STAGES = {
    "genesis": script("write plan.md x", "commit Plan", "output repository_url=https://example.org/shop"),
    "development": script("write built.md x", "commit Build", "output deployment_url=https://shop.example.org"),
    "content": script("write said.md x", "commit Words"),
}


def configure(yard: Yard, **instructions: str) -> None:
    text = "[crew]\ngrace_period_seconds = 1\n"
    for name, told in {**STAGES, **instructions}.items():
        text += f'[workflows.stages.{name}]\nagent = "scripted"\ninstructions = {json.dumps(told)}\n'
        text += 'hands_over = "deployed"\n' if name == "development" else ""
    (yard.repo / "crewyard.toml").write_text(text)


def crewyard(yard: Yard, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*CREWYARD, *words, "--repo", str(yard.repo)], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def told(yard: Yard, line: str) -> dict[str, Any]:
    done = crewyard(yard, "workflow", line, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
