"""The short form of `make messages`: senders and readers are killed, and no message is lost, doubled or misled."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).parents[2] / "scripts"


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up, and one imports the other
    specification.loader.exec_module(module)
    return module


history = load("history")
killed = load("messages")


def test_no_message_is_lost_or_doubled_whoever_is_killed(tmp_path: Path) -> None:
    done = killed.play(tmp_path, count=600, processes=4, seed=1, pause=0.3)
    assert done.wrong == []
    assert min(done.kills["sender"], done.kills["receiver"]) >= 1
    assert sum(done.messages.values()) >= 600
