"""What is learned of arrivals (R-245) and of how long work takes (R-249)."""

from crewyard.server.workflows import pace, peaks


def test_r245_an_hour_with_twice_the_mean_of_a_week_is_a_peak_hour() -> None:
    assert peaks.is_learned([2] * 7, total=168)
    assert not peaks.is_learned([2] * 6 + [1], total=168)


def test_what_came_on_one_day_alone_or_was_little_is_no_habit() -> None:
    assert not peaks.is_learned([100, 0, 0, 0, 0, 0, 0], total=100)
    assert not peaks.is_learned([4, 4, 4, 4, 4, 3, 0], total=23)


def test_r249_work_that_takes_half_as_long_again_has_slowed() -> None:
    said = pace.slowed([91.0] * 10 + [60.0] * 40)
    assert said == "the last 10 took 1.5 minutes on the average, the 40 before 1.0"
    assert pace.slowed([90.0] * 10 + [60.0] * 40) == ""


def test_what_slowed_does_so_until_it_is_nearly_as_fast_again() -> None:
    assert pace.slowed([75.0] * 10 + [60.0] * 40, was_slow=True)
    assert not pace.slowed([72.0] * 10 + [60.0] * 40, was_slow=True)


def test_little_work_and_work_that_differs_much_tell_nothing() -> None:
    assert pace.slowed([600.0] * 10 + [60.0] * 19) == ""
    assert pace.slowed([30.0, 200.0] * 5 + [10.0, 130.0] * 20) == ""
