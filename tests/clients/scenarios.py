"""What a scripted model says: scenarios of turns, whatever the program on the other side speaks."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

OURS = re.compile(r"_(\d{3})_[0-9a-f]+$")
# What Claude Code puts in the model's mouth where it takes up a conversation that was cut off.
NOT_SAID = ("No response requested.",)


@dataclass(frozen=True)
class Say:
    """A text of the model's."""

    text: str


class Use:
    """A call of a tool: its name as the program offers it, or the bare name of an MCP tool (``plan``)."""

    def __init__(self, tool: str, **arguments: Any) -> None:
        self.tool, self.arguments = tool, arguments

    def __repr__(self) -> str:
        return f"Use({self.tool!r}, **{self.arguments!r})"


Part = Say | Use
Results = list[Any]


@dataclass
class Refuse:
    """An HTTP error instead of an answer: ``times`` times, or until ``until`` is true, or for ever.

    It uses up no turn. ``body`` replaces what the dialect would make of ``message`` and ``kind``.
    """

    status: int
    message: str = "refused by the script"
    kind: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    times: int | None = None
    until: Callable[[], bool] | None = None

    def strikes(self) -> bool:
        if self.until is not None:
            return not self.until()
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Again:
    """A turn that is said at least once, and again until ``until`` is true of the results so far."""

    def __init__(self, *parts: Part, until: Callable[[Results], bool]) -> None:
        self.parts, self.until = parts, until


Turn = Sequence[Part] | Callable[[Results], Sequence[Part]] | Refuse | Again


@dataclass
class Asked:
    """One request to a model, as far as it matters to a script and to a test; no header, so no key."""

    dialect: str
    path: str
    model: str
    # What each tool that it may call takes in the request, in characters.
    tools: dict[str, int]
    messages: list[dict[str, Any]]
    stream: bool = True
    # The user's words before the model's first answer.
    said: str = ""
    # For each answer of the model so far, what became of its calls.
    turns: list[Results] = field(default_factory=list)
    searches: set[str] = field(default_factory=set)

    @property
    def results(self) -> Results:
        return [result for turn in self.turns for result in turn]

    def answered(self, text: str, calls: Sequence[str]) -> None:
        """The model's answer with the ids of its calls. An id of ours says which turn it was, whatever was left out."""
        marks = [int(found[1]) for found in map(OURS.search, calls) if found]
        if not marks and (text in NOT_SAID or any("_search_" in call for call in calls)):
            return
        turn = max(marks, default=len(self.turns))
        self.turns += [[] for _ in range(turn + 1 - len(self.turns))]

    def heard(self, call: str, result: Any) -> None:
        found = OURS.search(call)
        if "_search_" not in call and self.turns:
            self.turns[int(found[1]) if found and int(found[1]) < len(self.turns) else -1].append(result)

    def offered(self, tool: str) -> str | None:
        """The name under which the program offers ``tool``; None where it does not."""
        ending = (f"_{tool}", f".{tool}")
        return tool if tool in self.tools else next((name for name in self.tools if name.endswith(ending)), None)


@dataclass
class Scenario:
    """The turns of the conversation whose first words match."""

    match: str
    turns: Sequence[Turn]

    def next(self, asked: Asked) -> Sequence[Part] | Refuse:
        place = 0
        for past in range(len(asked.turns)):
            place = self._past_refusals(place)
            if place < len(self.turns) and not self._is_due_again(place, asked, past):
                place += 1
        while place < len(self.turns):
            turn = self.turns[place]
            if not isinstance(turn, Refuse):
                return turn.parts if isinstance(turn, Again) else turn(asked.results) if callable(turn) else turn
            if turn.strikes():
                return turn
            place += 1
        return [Say("(the script is over)")]

    def _past_refusals(self, place: int) -> int:
        while place < len(self.turns) and isinstance(self.turns[place], Refuse):
            place += 1
        return place

    def _is_due_again(self, place: int, asked: Asked, past: int) -> bool:
        turn = self.turns[place]
        so_far = [result for results in asked.turns[: past + 1] for result in results]
        return isinstance(turn, Again) and not turn.until(so_far)
