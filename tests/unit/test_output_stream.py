"""An agent's output is shown byte for byte, however its runner rotates it meanwhile."""

import json
import random
from contextlib import closing
from pathlib import Path

import pytest

from crewyard.server import kinds
from crewyard.server.output_stream import Output, Words
from crewyard.server.runner.output import RotatedFile


def shown(output: Output) -> bytes:
    found: list[bytes] = []
    output.copy(found.append)
    return b"".join(found)


@pytest.mark.parametrize("seed", range(20))
def test_r306_a_log_that_is_rotated_is_followed_without_a_byte_lost_or_doubled(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    file, written, seen = RotatedFile(str(tmp_path / "output.log"), 1000), b"", b""
    with closing(Output(tmp_path)) as output:
        since = 0
        for n in range(300):
            data = f"{n} {'x' * chance.randrange(200)}\n".encode()
            file.write(data)
            written += data
            since += len(data)
            if chance.random() < 0.4 or since > 700:  # two rotations between two looks would lose something
                seen += shown(output)
                since = 0
        seen += shown(output)

        assert seen == written
        assert not output.has_lost


def test_what_was_rotated_away_unseen_is_told(tmp_path: Path) -> None:
    file = RotatedFile(str(tmp_path / "output.log"), 10)
    with closing(Output(tmp_path)) as output:
        file.write(b"1111111\n")
        assert shown(output) == b"1111111\n"
        for number in (2, 3, 4):
            file.write(f"{number}".encode() * 7 + b"\n")

        assert shown(output) == b"3333333\n4444444\n"
        assert output.has_lost


def test_a_log_that_is_not_there_yet_is_shown_once_it_is(tmp_path: Path) -> None:
    with closing(Output(tmp_path)) as output:
        assert shown(output) == b""
        (tmp_path / "output.log").write_bytes(b"begun\n")
        assert shown(output) == b"begun\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, b""), (1, b"e"), (2, b"d\ne"), (3, b"c\nd\ne"), (4, b"b\nc\nd\ne"), (9, b"a\nb\nc\nd\ne")],
)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_last_lines_are_counted_over_both_files(tmp_path: Path, lines: int, expected: bytes, end: bytes) -> None:
    (tmp_path / "output.log.1").write_bytes(b"a\nb\nc\n")
    (tmp_path / "output.log").write_bytes(b"d\ne" + end)

    with closing(Output(tmp_path, lines)) as output:
        assert shown(output) == (expected + end if lines else b"")


def test_lines_are_counted_over_more_than_a_block(tmp_path: Path) -> None:
    text = b"".join(f"{n} {'y' * 90}\n".encode() for n in range(3000))
    (tmp_path / "output.log").write_bytes(text)

    with closing(Output(tmp_path, 2000)) as output:
        assert shown(output) == b"".join(text.splitlines(keepends=True)[-2000:])


# ------------------------------------------------------------------------------------------ as a person reads it


def event(text: str) -> bytes:
    said = {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}
    return json.dumps(said).encode() + b"\n"


def words(folder: Path, lines: int | None = None) -> Words:
    return Words(folder, lines, kind=kinds.KINDS["claude"])


def test_r306_events_that_are_cut_anywhere_and_rotated_are_each_read_once(tmp_path: Path) -> None:
    chance = random.Random(7)
    written = b"".join(event(f"word {n}\nand more") for n in range(200))
    file, seen = RotatedFile(str(tmp_path / "output.log"), 4000), b""
    with closing(words(tmp_path)) as output:
        while written:
            size = chance.randrange(1, 700)
            file.write(written[:size])
            written = written[size:]
            seen += shown(output)

        assert seen.decode().splitlines() == [line for n in range(200) for line in (f"word {n}", "and more")]


def test_the_last_lines_are_those_that_are_said(tmp_path: Path) -> None:
    silent = b'{"type": "system"}\n' * 50
    (tmp_path / "output.log").write_bytes(event("a\nb\nc") + silent + event("d") + silent)
    with closing(words(tmp_path, 2)) as output:
        assert shown(output) == b"c\nd\n"
        with (tmp_path / "output.log").open("ab") as file:
            file.write(event("e\nf\ng"))
        assert shown(output) == b"e\nf\ng\n"


def test_a_last_line_that_was_not_ended_is_shown_at_the_end_and_half_an_event_is_not(tmp_path: Path) -> None:
    for end, expected in ((b"died of it", b"died of it\n"), (event("half")[:-9], b""), (event("all")[:-1], b"all\n")):
        (tmp_path / "output.log").write_bytes(event("first") + end)
        with closing(words(tmp_path)) as output:
            assert shown(output) == b"first\n"
            found: list[bytes] = []
            output.finish(found.append)
            assert b"".join(found) == expected
