"""What is measured of process trees. The one process that is started here is Python's own, and ended."""

import os

from crewyard.server import process
from crewyard.server.usage import Sampler, Tree


def kept_by(*pids: int) -> dict[int, Tree]:
    """Trees of which each of these is the keeper."""
    return {pid: Tree(process.identify(pid), None) for pid in pids}


def test_only_what_lies_below_a_process_is_measured() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    sampler = Sampler()
    try:
        found = sampler.look(kept_by(os.getpid(), child))
        assert set(found) == {os.getpid()}, "nothing lies below the child"
        assert found[os.getpid()].processes >= 1
        assert found[os.getpid()].memory_mb > 0
        assert found[os.getpid()].cpu_percent >= 0
    finally:
        os.close(writer)
        os.waitpid(child, 0)
    assert child not in sampler.look(kept_by(child))


def test_nothing_is_measured_where_nothing_is_asked_for() -> None:
    assert Sampler().look({}) == {}
