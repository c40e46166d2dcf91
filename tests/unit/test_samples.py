"""Samples in metrics.db: what is recorded, how it thins out with age, what history tells of it."""

from collections import defaultdict
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from crewyard.server import clock, samples
from crewyard.server.machine import Machine, Space
from crewyard.server.sections import Monitoring
from crewyard.server.store import Store

NOW = "2026-01-10T12:00:00.000Z"
KEEP = Monitoring()
SEEN = Machine(
    40.0, (30.0, 50.0), (1.5, 1.0, 0.5), Space(1000.0, 400.0, 600.0, 60.0), Space(100.0, 90.0, 10.0, 10.0),
    Space(5000.0, 1000.0, 4000.0, 80.0),
)  # fmt: skip


def rows(store: Store, columns: str = "*") -> list[dict[str, Any]]:
    found = store.read(lambda tx: tx.all(f"SELECT {columns} FROM metrics.metrics ORDER BY timestamp, metric_id"))
    return [dict(row) for row in found]


def fill(store: Store, hours: float, every: float, until: str = NOW) -> None:
    """Samples up to ``until``, whose CPU grows from one to the next."""
    moments = [clock.plus(until, -every * n) for n in range(int(hours * 3600 / every), 0, -1)]
    for number, moment in enumerate(moments):
        seen = replace(SEEN, cpu_percent=float(number % 90))
        store.note(samples.record, seen, {"a-1": (float(number % 50), 100.0)}, now=moment)


def thin_out(store: Store, now: str = NOW) -> int:
    done = 0
    while span := store.read(samples.overdue, KEEP, now=now):
        store.note(samples.thin, span)
        done += 1
        assert done < 1000, "it does not come to an end"
    return done


def test_r148_samples_of_the_machine_and_of_each_agent_are_kept(store: Store) -> None:
    store.note(samples.record, SEEN, {"a-1": (12.5, 300.0), "a-2": (None, 50.0)}, now=NOW)
    found = {(row["metric_type"], row["agent_id"]): (row["value"], row["unit"]) for row in rows(store)}
    assert found == {
        ("cpu_percent", None): (40.0, "percent"),
        ("memory_percent", None): (60.0, "percent"),
        ("swap_percent", None): (10.0, "percent"),
        ("disk_percent", None): (80.0, "percent"),
        ("load_1m", None): (1.5, "processes"),
        ("active_agents", None): (2.0, "agents"),
        ("cpu_percent", "a-1"): (12.5, "percent"),
        ("memory_mb", "a-1"): (300.0, "MiB"),
        ("memory_mb", "a-2"): (50.0, "MiB"),
    }


def test_r148_a_cpu_that_nobody_knows_yet_is_not_sampled_as_idle(store: Store) -> None:
    store.note(samples.record, replace(SEEN, per_core=(), cpu_percent=0.0), {}, now=NOW)
    assert "cpu_percent" not in {row["metric_type"] for row in rows(store)}


def test_a_sample_tells_nobody_and_changes_nothing_of_the_yard(store: Store) -> None:
    told: list[int] = []
    noisy = Store(store.path, after_commit=lambda _: told.append(1))
    version = store.read(lambda tx: tx.value("PRAGMA main.data_version"))
    noisy.note(samples.record, SEEN, {}, now=NOW)
    assert told == []
    assert store.read(lambda tx: tx.value("PRAGMA main.data_version")) == version
    noisy.close()


def test_r307_old_samples_become_means_and_maxima_of_five_minutes_then_of_hours(store: Store) -> None:
    fill(store, hours=60, every=120)
    before = rows(store)
    thin_out(store)
    after = rows(store)
    assert {row["span_seconds"] for row in after} == {0, 300, 3600}
    for span, least, most in ((0, 0, 6.1), (300, 6, 48.1), (3600, 48, 61)):
        ages = [clock.seconds_between(row["timestamp"], NOW) / 3600 for row in after if row["span_seconds"] == span]
        assert ages
        assert all(least - 1 <= age <= most + 1 for age in ages)
    wanted: dict[tuple[str, Any, str], list[float]] = defaultdict(list)
    for row in before:
        wanted[row["metric_type"], row["agent_id"], row["timestamp"][:13]].append(row["value"])
    hours = [row for row in after if row["span_seconds"] == 3600]
    for row in hours:
        values = wanted[row["metric_type"], row["agent_id"], row["timestamp"][:13]]
        assert row["maximum"] == max(values)
        assert row["value"] == pytest.approx(fmean(values), abs=2.0), "five-minute means hold two samples or three"


def test_r307_what_is_older_than_it_is_kept_is_deleted(store: Store) -> None:
    fill(store, hours=3, every=300, until=clock.plus(NOW, -29 * 86400))
    store.note(samples.record, SEEN, {}, now=clock.plus(NOW, -60))
    assert thin_out(store) >= 3
    assert {row["timestamp"] for row in rows(store)} == {clock.plus(NOW, -60)}


def test_thinning_does_a_bounded_piece_at_a_time_and_goes_on_where_it_was_cut_off(store: Store) -> None:
    fill(store, hours=12, every=60)
    total = len(rows(store))
    span = store.read(samples.overdue, KEEP, now=NOW)
    assert span is not None
    assert clock.seconds_between(span.start, span.end) == samples.DETAIL_SECONDS

    def killed(tx: Any) -> None:
        samples.thin(tx, span)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.note(killed)
    assert len(rows(store)) == total, "all of a piece or nothing"
    store.note(samples.thin, span)
    once = rows(store)
    store.note(samples.thin, span)
    assert rows(store) == once, "done twice changes nothing"
    assert 0 < total - len(once) <= 5 * 8
    following = store.read(samples.overdue, KEEP, now=NOW)
    assert following is not None
    assert following.start == span.end


def test_r307_a_thinned_history_shows_the_same_means(store: Store) -> None:
    """A bound of a step falls together with one of five minutes, so that nothing is shared out differently."""
    fill(store, hours=10, every=60)
    before = store.read(samples.history, 20 * 60, now=NOW)
    thin_out(store)
    after = store.read(samples.history, 20 * 60, now=NOW)
    assert [each["at"] for each in before.samples] == [each["at"] for each in after.samples]
    for one, other in zip(before.samples, after.samples, strict=True):
        assert one["cpu_percent"] == pytest.approx(other["cpu_percent"], abs=0.5)


@pytest.mark.parametrize(("minutes", "step"), [(20, 30), (60, 120), (24 * 60, 3600), (28 * 24 * 60, 86_400)])
def test_r151_history_has_at_most_forty_steps_whatever_its_range(store: Store, minutes: int, step: int) -> None:
    fill(store, hours=min(30, minutes / 60), every=30 if minutes <= 60 else 300)
    found = store.read(samples.history, minutes, now=NOW)
    assert found.step_seconds == step
    assert 0 < len(found.samples) <= samples.MOST_SHOWN + 1
    assert found.samples[0]["at"] >= clock.plus(NOW, -60 * minutes - step)
    assert set(found.samples[0]) == {"at", *samples.UNITS}
    assert found.samples[0]["active_agents"] == 1.0


def test_r151_history_is_the_mean_of_the_machines_samples_and_of_no_agents(store: Store) -> None:
    for n, percent in enumerate((10.0, 20.0, 60.0)):
        seen = replace(SEEN, cpu_percent=percent)
        store.note(samples.record, seen, {"a-1": (99.0, 1.0)}, now=clock.plus("2026-01-10T11:30:00.000Z", 20 * n))
    [step] = store.read(samples.history, 60, now=NOW).samples
    assert (step["at"], step["cpu_percent"]) == ("2026-01-10T11:30:00.000Z", 30.0)


def test_r151_trends_follow_the_samples(store: Store) -> None:
    for n in range(30):
        seen = replace(SEEN, cpu_percent=3.0 * n, disk=replace(SEEN.disk, percent=90.0 - 2 * n))
        store.note(samples.record, seen, {}, now=clock.plus(NOW, -3600 + 120 * n))
    found = store.read(samples.history, 60, now=NOW).trends
    assert found == {
        "cpu_percent": "increasing", "memory_percent": "stable", "swap_percent": "stable",
        "disk_percent": "decreasing", "load_1m": "stable", "active_agents": "stable",
    }  # fmt: skip


def test_r151_without_samples_history_is_empty_and_stable(store: Store) -> None:
    found = store.read(samples.history, 60, now=NOW)
    assert found.samples == []
    assert set(found.trends.values()) == {"stable"}
