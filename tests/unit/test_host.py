"""What the machine says of a process."""

import os

from crewyard.server import host


def test_a_process_has_an_uptime_while_it_lives() -> None:
    uptime = host.uptime_of(os.getpid())

    assert uptime is not None
    assert uptime >= 0
    assert host.uptime_of(2**22 + 1) is None
