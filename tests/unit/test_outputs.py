"""The ends of an agent's output, of which whoever reads it sees a bounded part."""

import json
from pathlib import Path

import pytest

from crewyard.server import kinds, outputs
from crewyard.server.runner.output import RotatedFile


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "HEAD_BYTES", 20)
    monkeypatch.setattr(outputs, "TAIL_BYTES", 30)


def test_a_short_output_is_seen_whole_over_its_rotation(tmp_path: Path, small: None) -> None:
    assert outputs.ends(tmp_path) == ""
    (tmp_path / "output.log").write_text("three\nfour\n")
    assert outputs.ends(tmp_path) == "three\nfour\n"
    (tmp_path / "output.log.1").write_text('{"n": 1}\ntwo\n')
    assert outputs.ends(tmp_path) == '{"n": 1}\ntwo\nthree\nfour\n'


def test_a_file_that_begins_inside_of_a_line_is_seen_from_the_next_one_on(tmp_path: Path) -> None:
    (tmp_path / "output.log.1").write_text(' says: rate limit exceeded"}}\ntwo\n')
    (tmp_path / "output.log").write_text("three\n")
    assert outputs.ends(tmp_path) == "two\nthree\n"


def test_of_a_long_one_the_first_and_the_last_whole_lines_are_seen(tmp_path: Path, small: None) -> None:
    (tmp_path / "output.log").write_text("\n".join(f"line {n:03d}" for n in range(100)))
    assert outputs.ends(tmp_path).splitlines() == ["line 000", "line 001", "line 097", "line 098", "line 099"]


def test_the_end_reaches_back_over_a_rotation(tmp_path: Path, small: None) -> None:
    (tmp_path / "output.log.1").write_text("\n".join(f"line {n:03d}" for n in range(100)) + "\n")
    (tmp_path / "output.log").write_text("last\n")
    assert outputs.ends(tmp_path).splitlines() == ["line 001", "line 098", "line 099", "last"]


def test_the_beginning_stays_however_often_the_output_is_rotated(tmp_path: Path, small: None) -> None:
    file = RotatedFile(str(tmp_path / "output.log"), 40)
    for number in range(50):
        file.write(b"line %03d\n" % number)
    assert outputs.ends(tmp_path).splitlines() == ["line 000", "line 001", "line 047", "line 048", "line 049"]
    assert "line 000" not in outputs.tail(str(tmp_path), kinds.ANY, lines=99, max_chars=1000)


def test_a_codex_that_prints_more_than_is_kept_has_its_thread_resumed(tmp_path: Path) -> None:
    file = RotatedFile(str(tmp_path / "output.log"), 2**20)
    for line in (Path(__file__).parent / "transcripts" / "codex-killed.jsonl").read_bytes().splitlines(keepends=True):
        file.write(line)
    for _ in range(40):
        file.write(json.dumps({"type": "item.completed", "item": {"text": "x" * 2**17}}).encode() + b"\n")
    told = kinds.KINDS["codex"].heard(outputs.ends(tmp_path), "", now="2026-11-22T01:40:00.000Z")
    assert told.session == "01a200f3-7c3e-7182-b87a-1ad4a52ce07d"


def test_the_end_of_a_program_that_prints_words_is_what_it_printed(tmp_path: Path) -> None:
    (tmp_path / "output.log.1").write_text("one\ntwo\n")
    (tmp_path / "output.log").write_text("three\n{}\n")
    assert outputs.tail(str(tmp_path), kinds.ANY, lines=3, max_chars=100) == "two\nthree\n{}"
    assert outputs.tail(str(tmp_path), kinds.ANY, lines=9, max_chars=4) == "e\n{}"
    assert outputs.tail(str(tmp_path / "none"), kinds.ANY, lines=9, max_chars=4) == ""


def event(text: str) -> str:
    return json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}) + "\n"


def test_the_end_of_a_program_that_prints_events_is_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claude = kinds.KINDS["claude"]
    (tmp_path / "output.log.1").write_text(event("one") + event("two")[:20])
    (tmp_path / "output.log").write_text(event("two")[20:] + '{"type": "system"}\n' + event("three\nfour"))
    assert outputs.tail(str(tmp_path), claude, lines=3, max_chars=100) == "two\nthree\nfour"

    monkeypatch.setattr(outputs, "WORDS_BYTES", 20)
    assert outputs.tail(str(tmp_path), claude, lines=3, max_chars=100).startswith("Its last 20 bytes hold nothing")
