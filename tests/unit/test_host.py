"""What the machine says of itself and of a process."""

import os
import time
from dataclasses import replace
from pathlib import Path

from crewyard.server import host, process


def test_a_look_at_the_machine_is_at_hand_until_it_is_a_second_old(tmp_path: Path) -> None:
    watch = host.Watch(tmp_path)
    assert watch.at_hand() is None, "nobody has looked"

    seen = watch.look()
    assert watch.at_hand() is seen

    watch._seen_at = time.monotonic() - host.FRESH_SECONDS
    assert watch.at_hand() is None


def test_a_process_has_an_age_while_it_lives() -> None:
    me = process.myself()
    age = process.age_of(me)

    assert age is not None
    assert 0 <= age < os.times().elapsed
    assert process.age_of(replace(me, start_time="1")) is None, "another process of that pid"
