"""Whatever an agent prints or leaves, its end is taken in, and so are those of the others."""

import json
import sys
from pathlib import Path

import pytest

MOST = 2**53 - 1
USAGE = {"input_tokens": MOST, "cache_creation_input_tokens": MOST, "output_tokens": MOST}
BEYOND = json.dumps({"type": "result", "usage": USAGE, "total_cost_usd": MOST}) + "\n"
DEEP = '{"type":"result","usage":' * 2_000 + "\n" + "[" * 50_000 + '"result"\n'
ODD = {
    "counts-beyond-all-bounds": BEYOND.encode() * 1_000,
    "infinite": b'{"type":"result","total_cost_usd":Infinity,"usage":{"input_tokens":NaN,"output_tokens":-1e999}}\n',
    "endless-digits": b'{"type":"result","usage":{"output_tokens":' + b"9" * 20_000 + b"}}\n",
    "deep": DEEP.encode(),
    "no-text": b'\xff\xfe{"type":"result"\x00}\n\x1b[2J\xed\xa0\x80 {"type":"result","usage":{"input_tokens":true}}\n',
    "unending-limit": b"over until 9999-12-31T23:59:59-12:00\n",
}


def agent(yard, name: str, text: str, more: str = "") -> str:
    path: Path = yard.folder / f"{name}.py"
    path.write_text(f"import os, pathlib, sys\n{text}")
    return f'[agents.{name}]\ncommand = ["{sys.executable}", "-I", "-S", "{path}"]\n{more}'


@pytest.mark.parametrize("code", [0, 1])
def test_no_output_hinders_an_agents_end(yard, code: int) -> None:
    tables = "[crew]\nmax_restarts = 0\n[launch]\nfailed_starts = 99\nquota_pause_seconds = 1\nmax_per_task = 2\n"
    for name, printed in ODD.items():
        (yard.folder / name).write_bytes(printed)
    body = (
        "name = os.environ['CREWYARD_TASK_ID']\n"
        f"sys.stdout.buffer.write((pathlib.Path({str(yard.folder)!r}) / name).read_bytes())\n"
        "pathlib.Path(name + '.txt').write_text('done')\n"
        f"sys.exit({code})\n"
    )
    limit = "quota_pattern = 'over until (?P<reset>.+)'\n"
    (yard.repo / "crewyard.toml").write_text(
        tables + agent(yard, "odd", body) + agent(yard, "limited", body, limit if code else "")
    )
    tasks = [{"task_id": name, "agent_type": "limited" if "limit" in name else "odd"} for name in ODD]
    outcome = yard.run(yard.plan(*tasks))
    assert "Traceback" not in outcome.err
    wanted = "review" if code else "merged"
    assert {task["task_id"]: task["status"] for task in outcome.result["tasks"]} == dict.fromkeys(ODD, wanted)
    assert not yard.holds("SELECT 1 FROM agent_lifecycle WHERE status IN ('starting', 'running')")


def test_an_agent_whose_output_cannot_be_read_ends_and_holds_nobody_up(yard) -> None:
    """Its end is taken in with what its runner wrote, and nothing else."""
    text = (
        "log = pathlib.Path(os.environ['CREWYARD_PROMPT_FILE']).parent / 'output.log'\n"
        "log.unlink()\n"
        "log.mkdir()\n"
        "pathlib.Path('odd.txt').write_text('done')\n"
    )
    yard.configure(agent(yard, "odd", text))
    others = [{"task_id": f"T{number}"} for number in range(3)]
    outcome = yard.run(yard.plan({"task_id": "odd", "agent_type": "odd"}, *others))
    assert outcome.code == 0, outcome.err
    assert {task["status"] for task in outcome.result["tasks"]} == {"merged"}
    assert outcome.err.count("IsADirectoryError") == 1, "tried once, and then without"
