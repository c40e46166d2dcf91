"""The daemon's record and its lock, and who may be launched."""

import json
import os
from pathlib import Path

import pytest

from crewyard.server import daemon, holds, process
from crewyard.server.errors import SingletonViolation
from crewyard.server.paths import Paths
from crewyard.server.settings import Settings
from crewyard.server.store import Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, Settings())


def test_whoever_holds_the_lock_is_found_until_it_lets_go(paths: Paths) -> None:
    with daemon.life(paths) as life:
        assert daemon.running(paths) is None, "not ready yet"
        life.record("http://127.0.0.1:1/mcp", "a file", now=NOW)
        found = daemon.running(paths)
        assert found is not None
        assert (found.identity, found.url) == (process.myself(), "http://127.0.0.1:1/mcp")
        assert paths.daemon_record.stat().st_mode & 0o777 == 0o600
    assert daemon.running(paths) is None
    assert not paths.daemon_record.exists()


def test_there_is_one_daemon_at_a_time(paths: Paths) -> None:
    with daemon.life(paths), pytest.raises(SingletonViolation), daemon.life(paths):
        pass
    with daemon.life(paths):
        pass


def test_a_fork_does_not_hold_the_lock_beyond_its_parents_life(paths: Paths) -> None:
    ends, word = os.pipe(), os.pipe()
    with daemon.life(paths):
        child = os.fork()
        if child == 0:
            os.write(word[1], b"!")
            os.read(ends[0], 1)  # lives until the test lets it end
            os._exit(0)
        os.read(word[0], 1)
    try:
        with daemon.life(paths):
            pass
    finally:
        os.write(ends[1], b"!")
        os.waitpid(child, 0)
        for descriptor in (*ends, *word):
            os.close(descriptor)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"pid": 1}', json.dumps(dict.fromkeys(daemon.Daemon.__dataclass_fields__, "x"))]
)
def test_a_record_that_cannot_be_used_names_nobody(paths: Paths, text: str) -> None:
    paths.own.mkdir(parents=True)
    paths.daemon_record.write_text(text)

    assert daemon.running(paths) is None


def test_a_start_waits_while_somebody_stops_and_says_so(paths: Paths) -> None:
    def waits() -> None:
        raise InterruptedError

    stopping = daemon.changing(paths, alone=False)
    starting = daemon.changing(paths, alone=True, waits=waits)
    with stopping, daemon.changing(paths, alone=False, waits=waits), pytest.raises(InterruptedError):
        starting.__enter__()
    late = daemon.changing(paths, alone=False, waits=waits)
    with daemon.changing(paths, alone=True, waits=waits), pytest.raises(InterruptedError):
        late.__enter__()


def held(tx: Transaction) -> list[tuple[str, str]]:
    return [(row["scope"], row["reason"]) for row in holds.listed(tx)]


def test_types_that_are_left_out_are_held_until_they_are_wanted(store: Store) -> None:
    def check(tx: Transaction) -> None:
        known = {"a", "b", "c"}
        holds.start_only(tx, ["a"], known, now=NOW, actor="t")
        assert held(tx) == [("b", "not_started"), ("c", "not_started")]
        holds.start_only(tx, ["a", "b"], known, now=NOW, actor="t")
        assert held(tx) == [("c", "not_started")]
        holds.start_only(tx, None, known, now=NOW, actor="t")
        assert held(tx) == []

    store.run(check)


def test_a_stop_holds_everyone_and_forgets_who_was_left_out(store: Store) -> None:
    def check(tx: Transaction) -> None:
        holds.start_only(tx, ["a"], {"a", "b"}, now=NOW, actor="t")
        holds.hold(tx, "a", "failed_starts", "three in a row", until=NOW, now=NOW, actor="t")
        for _ in range(2):
            holds.stop(tx, now=NOW, actor="t")
        assert held(tx) == [("*", "stopped"), ("a", "failed_starts")]
        kinds = [row["kind"] for row in tx.all("SELECT kind FROM event WHERE subject_id = '*'")]
        assert kinds == ["launches_held"], "a second stop changes nothing"
        holds.start_only(tx, None, {"a", "b"}, now=NOW, actor="t")
        assert held(tx) == []

    store.run(check)
