"""The judge of `make messages`, on a history that is right and on each kind that is not."""

import importlib.util
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "scripts" / "history.py"


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("history", PATH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["history"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


history = load()
WORLD = history.World(
    boxes={"s": ["s"], "a": ["a", "kind"], "b": ["b", "kind"]}, everyone=["s", "a", "b"], lease_seconds=1.0
)
Entries = list[dict[str, Any]]
Rows = dict[str, dict[str, Any]]


def entry(at: float, who: str, what: str, **facts: Any) -> dict[str, Any]:
    return {"at": at, "who": who, "what": what, **facts}


def shown(message_id: str, box: str, count: int = 1) -> dict[str, Any]:
    token = f"t{message_id[1:]}"
    return {"id": message_id, "token": token, "sender": "s", "box": box, "priority": 5, "count": count}


def row(message_id: str, box: str, status: str = "acknowledged") -> dict[str, Any]:
    return shown(message_id, box) | {"status": status, "about": None}


def right() -> tuple[Entries, Rows]:
    """Two messages to the two of a kind, one of them delivered twice; a broadcast; a send and an acknowledge that were
    cut off; one that failed with a word to its sender.
    """
    entries = [
        entry(1.0, "s", "send", token="t1", to="kind", priority=5),
        entry(1.1, "s", "sent", token="t1", ids={"kind": "m1"}),
        entry(1.2, "s", "send", token="t2", to="kind", priority=5),
        entry(1.3, "s", "sent", token="t2", ids={"kind": "m2"}),
        entry(1.4, "s", "send", token="t3", to="ALL", priority=5),
        entry(1.5, "s", "sent", token="t3", ids={"a": "m3", "b": "m33"}),
        entry(1.6, "s", "send", token="t4", to="a", priority=5),  # killed here; it is there
        entry(1.7, "s", "send", token="t5", to="a", priority=5),  # killed here; it is not
        entry(1.8, "s", "send", token="t6", to="a", priority=5),
        entry(1.9, "s", "refused", token="t6", code="queue_full"),
        entry(2.0, "s", "send", token="t7", to="b", priority=5),
        entry(2.1, "s", "sent", token="t7", ids={"b": "m7"}),
        entry(3.0, "a", "poll", number=1),
        entry(3.1, "a", "polled", number=1, messages=[shown("m1", "kind")]),  # killed here
        entry(3.2, "b", "poll", number=1),
        entry(3.3, "b", "polled", number=1, messages=[shown("m2", "kind")]),
        entry(3.4, "b", "settle", id="m2"),
        entry(3.5, "b", "settled", id="m2", first=True),
        entry(5.0, "b", "poll", number=2),
        entry(5.1, "b", "polled", number=2, messages=[shown("m1", "kind", 2)]),
        entry(5.2, "b", "settle", id="m1"),
        entry(5.3, "b", "settled", id="m1", first=True),
        entry(6.0, "a", "poll", number=2),
        entry(6.1, "a", "polled", number=2, messages=[shown("m3", "a"), shown("m4", "a") | {"token": "t4"}]),
        entry(6.2, "a", "settle", id="m3"),
        entry(6.3, "a", "settled", id="m3", first=True),
        entry(6.4, "a", "settle", id="m4"),  # killed here; it was done
        entry(7.0, "b", "poll", number=3),
        entry(7.1, "b", "polled", number=3, messages=[shown("m33", "b") | {"token": "t3"}, shown("m7", "b")]),
        entry(7.2, "b", "settle", id="m33"),
        entry(7.3, "b", "settled", id="m33", first=True),
        entry(8.0, "s", "poll", number=1),
        entry(8.1, "s", "polled", number=1, messages=[told("m9", "m7") | {"count": 1}]),
        entry(8.2, "s", "settle", id="m9"),
        entry(8.3, "s", "settled", id="m9", first=True),
    ]
    rows = [row("m1", "kind"), row("m2", "kind"), row("m3", "a"), row("m33", "b") | {"token": "t3"}, row("m4", "a")]
    rows += [row("m7", "b", "failed"), told("m9", "m7")]
    return entries, {each["id"]: each for each in rows}


def told(message_id: str, about: str) -> dict[str, Any]:
    return row(message_id, "s") | {"token": None, "sender": "crewyard", "about": about}


def test_a_history_that_is_right_is_not_complained_of() -> None:
    entries, rows = right()
    assert history.complaints(WORLD, entries, rows.values()) == []


def find(entries: Entries, what: str, **facts: Any) -> dict[str, Any]:
    return next(each for each in entries if each["what"] == what and facts.items() <= each.items())


def lose_it(entries: Entries, rows: Rows) -> None:
    del rows["m2"]


def leave_it(entries: Entries, rows: Rows) -> None:
    rows["m4"]["status"] = "delivered"


def tell_nobody(entries: Entries, rows: Rows) -> None:
    del rows["m9"]


def give_it_another_text(entries: Entries, rows: Rows) -> None:
    rows["m2"]["token"] = "t1"


def lose_half_a_broadcast(entries: Entries, rows: Rows) -> None:
    del rows["m33"]


def settle_twice(entries: Entries, rows: Rows) -> None:
    entries += [entry(9.0, "a", "settle", id="m1"), entry(9.1, "a", "settled", id="m1", first=True)]


def settle_and_fail(entries: Entries, rows: Rows) -> None:
    rows["m1"]["status"] = "failed"


def settle_by_nobody(entries: Entries, rows: Rows) -> None:
    entries.remove(find(entries, "settle", id="m4"))


def settle_what_one_never_had(entries: Entries, rows: Rows) -> None:
    find(entries, "settle", id="m4")["who"] = "b"


def give_it_to_a_stranger(entries: Entries, rows: Rows) -> None:
    find(entries, "polled", who="b", number=2)["messages"].append(shown("m3", "a", 2))


def let_a_stranger_settle_it(entries: Entries, rows: Rows) -> None:
    find(entries, "settled", id="m3")["who"] = "b"


def give_it_after_its_end(entries: Entries, rows: Rows) -> None:
    entries += [
        entry(9.0, "b", "poll", number=9),
        entry(9.1, "b", "polled", number=9, messages=[shown("m2", "kind", 2)]),
    ]


def make_one_up(entries: Entries, rows: Rows) -> None:
    rows["m8"] = row("m8", "a")


def keep_what_was_refused(entries: Entries, rows: Rows) -> None:
    rows["m6"] = row("m6", "a")


def deliver_what_is_not_there(entries: Entries, rows: Rows) -> None:
    find(entries, "polled", who="a", number=2)["messages"].append(shown("m8", "a"))


def double_it(entries: Entries, rows: Rows) -> None:
    rows["m34"] = rows["m3"] | {"id": "m34"}
    find(entries, "sent", token="t3")


def swap_two(entries: Entries, rows: Rows) -> None:
    find(entries, "poll", who="b", number=1)["at"] = 2.2
    find(entries, "polled", who="b", number=1)["at"] = 2.3


def swap_two_in_one_answer(entries: Entries, rows: Rows) -> None:
    find(entries, "polled", who="a", number=2)["messages"].reverse()


def give_it_to_two_at_once(entries: Entries, rows: Rows) -> None:
    find(entries, "poll", who="b", number=2)["at"] = 3.6
    find(entries, "polled", who="b", number=2)["at"] = 3.7


def give_one_delivery_to_two(entries: Entries, rows: Rows) -> None:
    find(entries, "polled", who="b", number=2)["messages"][0]["count"] = 1


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lose_it, "t2 to kind was accepted and is lost"),
        (leave_it, "is left delivered"),
        (tell_nobody, "its sender was not told"),
        (give_it_another_text, "t2 to kind has become t1 to kind"),
        (lose_half_a_broadcast, "t3 to ALL is in ['a'] and not in ['a', 'b']"),
        (settle_twice, "t1 was acknowledged 2 times, by b, a"),
        (settle_and_fail, "t1 was acknowledged and is failed"),
        (settle_by_nobody, "t4 to a is acknowledged, by nobody"),
        (settle_what_one_never_had, "t4 to a was acknowledged by b, who never had it"),
        (give_it_to_a_stranger, "b was given t3, which is for a"),
        (let_a_stranger_settle_it, "b acknowledged t3, which is for a"),
        (give_it_after_its_end, "t2 was given to b after it was acknowledged"),
        (make_one_up, "t8 to a was sent by nobody"),
        (keep_what_was_refused, "t6 to a is there although it was refused"),
        (deliver_what_is_not_there, "a was given t8, which is no message of the queue"),
        (double_it, "t3 is twice in a"),
        (swap_two, "t2 of s to kind came before t1"),
        (swap_two_in_one_answer, "t4 of s to a came before t3"),
        (give_it_to_two_at_once, "t1 was given to b while it was a's"),
        (give_one_delivery_to_two, "one delivery of t1 was given to both a and b"),
    ],
)
def test_each_kind_of_wrong_is_found(harm: Callable[[Entries, Rows], None], words: str) -> None:
    entries, rows = deepcopy(right())
    harm(entries, rows)
    found = history.complaints(WORLD, entries, rows.values())
    assert any(words in each for each in found), found
