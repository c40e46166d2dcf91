"""What is learned of arrivals (R-245) and of how long work takes (R-249)."""

from crewyard.server.workflows import pace, peaks
from crewyard.server.workflows.peaks import Arrivals

WEEK = [Arrivals(hour, 4, 7) for hour in range(8, 18) if hour != 10] + [Arrivals(10, 40, 7)]


def test_r245_hours_with_twice_the_mean_of_a_week_are_peak_hours() -> None:
    assert 10 in peaks.learned(WEEK)
    assert 8 not in peaks.learned(WEEK)


def test_what_came_on_one_day_alone_or_was_little_is_no_habit() -> None:
    assert peaks.learned([Arrivals(10, 100, 1)]) == set()
    assert peaks.learned([Arrivals(10, 23, 7)]) == set()


def test_a_peak_hour_is_near_a_quarter_of_an_hour_before() -> None:
    assert peaks.is_near(9, 10, [], WEEK)
    assert not peaks.is_near(11, 11, [], WEEK)
    assert peaks.is_near(22, 22, [22], [])


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
