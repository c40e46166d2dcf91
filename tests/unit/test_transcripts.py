"""Whatever a program prints, what is shown of it is bounded, and a terminal obeys nothing in it."""

import json
import tracemalloc
from collections.abc import Iterator

import pytest

from crewyard.server import kinds, transcripts
from crewyard.server.kinds import objects
from crewyard.server.transcripts import Transcript

CLAUDE = kinds.KINDS["claude"]


def event(text: str) -> bytes:
    return json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}).encode() + b"\n"


def lines(data: bytes, *, begins_inside: bool = False) -> list[str]:
    return transcripts.of(CLAUDE, data, begins_inside=begins_inside)


def test_a_line_of_ten_megabytes_is_passed_over_in_little_memory_and_what_follows_is_read() -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"type": "user", "content": "'
        for _ in range(160):
            yield b"x" * 65536
        yield b'"}\n' + event("after it")

    transcript = Transcript(CLAUDE)
    tracemalloc.start()
    said = [words for piece in pieces() for words in transcript.feed(piece)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert said[0].endswith("… (a line of 10,485,791 bytes)")
    assert len(said[0]) < 1100
    assert said[1:] == ["after it"]
    assert peak < 5 * transcripts.LINE_BYTES


def test_what_begins_in_the_middle_of_a_line_begins_with_the_next_one() -> None:
    assert lines(event("half")[9:] + event("whole"), begins_inside=True) == ["whole"]
    assert lines(b"x" * 100, begins_inside=True) == []


def test_text_that_is_no_event_is_shown_as_it_is_and_cut() -> None:
    assert lines(b"Error: no\n\nsuch file\r\n") == ["Error: no", "such file"]
    [words] = lines(b"y" * 5000)
    assert words == "y" * (len(words) - 1) + "…"
    assert len(words) < 5000


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (event("\x1b[31mred\x1b[0m \x1b]0;title\x07\x9b2J\ttab"), ["red ]0;title2J\ttab"]),
        (b"\x1b[2Jcleared\x00\n", ["cleared"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (event("a\ud800b"), ["a?b"]),
        (b'{"type": "result", "result": ' + b"[" * 3000 + b"\n", None),
    ],
)
def test_nothing_in_it_moves_the_cursor_or_cannot_be_written(data: bytes, expected: list[str] | None) -> None:
    said = lines(data)
    assert expected is None or said == expected
    "\n".join(said).encode()


def test_half_of_a_pair_in_an_event_reaches_no_file_and_no_database() -> None:
    found = objects.of_line(r'{"a": ["\ud83d\ude00", "\ud83d"], "\udfff": 1}')
    assert found == {"a": ["😀", "?"], "?": 1}
