"""What the machine says of a process."""

import os
from dataclasses import replace

from crewyard.server import process


def test_a_process_has_an_age_while_it_lives() -> None:
    me = process.myself()
    age = process.age_of(me)

    assert age is not None
    assert 0 <= age < os.times().elapsed
    assert process.age_of(replace(me, start_time="1")) is None, "another process of that pid"
