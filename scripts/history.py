"""Says whether a history of messages is right: what each process noted of its operations, and what the queue holds.

An operation is noted when it is begun and when it is done, with the time of the clock that all processes of one boot
share. What was begun and never noted as done, since its process was killed, may have happened or not. Entries are as
`messages.py` writes them:

    send     token, to, priority            sent       token, ids {mailbox: message id}
                                            refused    token, code
    poll     number                         polled     number, messages [{id, token, sender, box, priority, count}]
    settle   id                             settled    id, first (it was not settled before)
                                            unsettled  id, code

Pure; standard library only.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

SYSTEM = "crewyard"
SLACK = 0.05  # leases are of the wall clock, which counts milliseconds and may be adjusted meanwhile
ENDED_BADLY = ("failed", "expired")

Entry = dict[str, Any]


@dataclass(frozen=True)
class World:
    """Who reads which mailboxes, who gets what is sent to ALL, and for how long a message is its reader's."""

    boxes: dict[str, list[str]]
    everyone: list[str]
    lease_seconds: float

    def expected(self, to: str, sender: str) -> set[str]:
        return {box for box in self.everyone if box != sender} if to == "ALL" else {to}


@dataclass(frozen=True)
class Delivery:
    """One message of one poll's result."""

    reader: str
    begun: float
    done: float
    place: int
    message: Entry


@dataclass
class History:
    """The entries of all processes, brought together. ``rows`` are the messages as the queue holds them at the end."""

    world: World
    entries: list[Entry]
    rows: dict[str, Entry]
    begun: dict[str, Entry] = field(default_factory=dict)  # sends by token
    accepted: dict[str, Entry] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    deliveries: dict[str, list[Delivery]] = field(default_factory=lambda: defaultdict(list))
    settling: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    settled: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        polls: dict[tuple[str, int], float] = {}
        for entry in sorted(self.entries, key=lambda each: each["at"]):
            match entry["what"]:
                case "send":
                    self.begun[entry["token"]] = entry
                case "sent":
                    self.accepted[entry["token"]] = entry
                case "refused":
                    self.refused.add(entry["token"])
                case "poll":
                    polls[entry["who"], entry["number"]] = entry["at"]
                case "polled":
                    start = polls[entry["who"], entry["number"]]
                    for place, message in enumerate(entry["messages"]):
                        delivery = Delivery(entry["who"], start, entry["at"], place, message)
                        self.deliveries[message["id"]].append(delivery)
                case "settle":
                    self.settling[entry["id"]].append(entry)
                case "settled" if entry["first"]:
                    self.settled[entry["id"]].append(entry)


def complaints(world: World, entries: Iterable[Entry], rows: Iterable[Entry]) -> list[str]:
    """Whatever is wrong with the history, in sentences; nothing where it is right."""
    history = History(world, list(entries), {row["id"]: row for row in rows})
    rules = (
        _lost,
        _made_up,
        _not_in_the_queue,
        _doubled,
        _strangers,
        _settled_wrongly,
        _after_the_end,
        _two_holders,
        _out_of_order,
    )
    return [complaint for rule in rules for complaint in rule(history)]


def _lost(history: History) -> Iterator[str]:
    """What was accepted is settled, or has ended with a word to its sender."""
    told = {row["about"] for row in history.rows.values() if row["sender"] == SYSTEM}
    for token, sent in history.accepted.items():
        for box, message_id in sent["ids"].items():
            row = history.rows.get(message_id)
            if row is None:
                yield f"{token} to {box} was accepted and is lost"
            elif (row["token"], row["box"]) != (token, box):
                yield f"{token} to {box} has become {row['token']} to {row['box']}"
    for row in history.rows.values():
        if row["status"] in ("pending", "delivered"):
            yield f"{row['token']} to {row['box']} is left {row['status']}"
        elif row["status"] in ENDED_BADLY and row["sender"] != SYSTEM and row["id"] not in told:
            yield f"{row['token']} to {row['box']} has {row['status']}, and its sender was not told"


def _made_up(history: History) -> Iterator[str]:
    """Each message was sent by somebody, and each refused or half-done send has left none, or all that it was to."""
    boxes = defaultdict(set)
    for row in history.rows.values():
        if row["sender"] == SYSTEM:
            if row["about"] not in history.rows:
                yield f"the system tells {row['box']} of {row['about']}, which is no message"
            continue
        boxes[row["token"]].add(row["box"])
        if row["token"] not in history.begun:
            yield f"{row['token']} to {row['box']} was sent by nobody"
        elif row["token"] in history.refused:
            yield f"{row['token']} to {row['box']} is there although it was refused"
    for token, found in boxes.items():
        sent = history.begun.get(token)
        if sent and (want := history.world.expected(sent["to"], sent["who"])) != found:
            yield f"{token} to {sent['to']} is in {sorted(found)} and not in {sorted(want)}"


def _not_in_the_queue(history: History) -> Iterator[str]:
    for message_id, deliveries in history.deliveries.items():
        row = history.rows.get(message_id)
        for each in deliveries:
            if row is None or row["token"] != each.message["token"]:
                yield f"{each.reader} was given {each.message['token']}, which is no message of the queue"


def _doubled(history: History) -> Iterator[str]:
    seen = set()
    for row in history.rows.values():
        key = (row["token"], row["box"])
        if row["sender"] != SYSTEM and key in seen:
            yield f"{key[0]} is twice in {key[1]}"
        seen.add(key)


def _strangers(history: History) -> Iterator[str]:
    for deliveries in history.deliveries.values():
        for each in deliveries:
            if each.message["box"] not in history.world.boxes[each.reader]:
                yield f"{each.reader} was given {each.message['token']}, which is for {each.message['box']}"
    for message_id, settled in history.settled.items():
        row = history.rows.get(message_id)
        for entry in settled:
            if row is not None and row["box"] not in history.world.boxes[entry["who"]]:
                yield f"{entry['who']} acknowledged {row['token']}, which is for {row['box']}"


def _settled_wrongly(history: History) -> Iterator[str]:
    """Once each, by whom it was delivered to, and only where it is so in the queue."""
    for message_id, settled in history.settled.items():
        row = history.rows.get(message_id)
        token = message_id if row is None else row["token"]
        if len(settled) > 1:
            yield f"{token} was acknowledged {len(settled)} times, by {', '.join(each['who'] for each in settled)}"
        if row is not None and row["status"] != "acknowledged":
            yield f"{token} was acknowledged and is {row['status']}"
    for row in history.rows.values():
        if row["status"] != "acknowledged":
            continue
        who = {entry["who"] for entry in history.settling[row["id"]]}
        if not who:
            yield f"{row['token']} to {row['box']} is acknowledged, by nobody"
        elif not who & {each.reader for each in history.deliveries[row["id"]]}:
            yield f"{row['token']} to {row['box']} was acknowledged by {', '.join(who)}, who never had it"


def _after_the_end(history: History) -> Iterator[str]:
    for message_id, settled in history.settled.items():
        for each in history.deliveries[message_id]:
            if each.begun > settled[0]["at"]:
                yield f"{each.message['token']} was given to {each.reader} after it was acknowledged"


def _two_holders(history: History) -> Iterator[str]:
    for deliveries in history.deliveries.values():
        ordered = sorted(deliveries, key=lambda each: (each.message["count"], each.done))
        for one, other in pairwise(ordered):
            token = one.message["token"]
            if one.message["count"] == other.message["count"]:
                yield f"one delivery of {token} was given to both {one.reader} and {other.reader}"
            elif other.done < one.begun + history.world.lease_seconds - SLACK:
                yield f"{token} was given to {other.reader} while it was {one.reader}'s"


def _out_of_order(history: History) -> Iterator[str]:
    """First deliveries of one sender's messages to one mailbox at one priority are in the order of their sending."""
    lanes: dict[tuple[str, str, int], list[tuple[float, Delivery]]] = defaultdict(list)
    for deliveries in history.deliveries.values():
        for each in deliveries:
            sent = history.begun.get(each.message["token"] or "")
            if each.message["count"] == 1 and sent is not None:
                lanes[sent["who"], each.message["box"], each.message["priority"]].append((sent["at"], each))
    for (sender, box, _), found in lanes.items():
        found.sort(key=lambda each: each[0])
        latest: Delivery | None = None  # of those sent before, the one whose poll began last
        for _, each in found:
            if latest is not None and (
                each.done < latest.begun or (each.done == latest.done and each.place < latest.place)
            ):
                yield f"{each.message['token']} of {sender} to {box} came before {latest.message['token']}"
            if latest is None or (each.begun, each.place) > (latest.begun, latest.place):
                latest = each
