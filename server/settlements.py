"""How the conflicts of a merge were settled without an agent, as it is kept and told."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from . import stages

How = Literal["whitespace", "union", "ours", "theirs"]


@dataclass(frozen=True)
class Settlement:
    """A file whose conflict was settled."""

    file: str
    how: How
    hunks: int  # 0: the whole file of that side, or its absence

    def told(self, target: str) -> str:
        words = {
            "whitespace": f"only whitespace differs, {target}'s kept",
            "union": "both sides' additions kept",
            "ours": f"{target}'s side taken",
            "theirs": "the task's side taken",
        }
        count = f"{self.hunks} hunk{'s' if self.hunks > 1 else ''}" if self.hunks else "the whole file"
        return f"{stages.quoted(self.file)}: {words[self.how]} ({count})"


def to_json(settled: Sequence[Settlement]) -> str:
    return json.dumps([asdict(each) for each in settled])


def from_json(text: str) -> list[Settlement]:
    return [Settlement(**each) for each in json.loads(text)]
