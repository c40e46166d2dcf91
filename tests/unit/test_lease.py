"""One acting supervisor on one database."""

from typing import Any

import pytest

from crewyard.server import clock, lease
from crewyard.server.errors import LeaseLost
from crewyard.server.store import Store

NOW = "2026-01-01T00:00:00.000Z"
ONE = lease.Holder("one", 1, "10", "boot")
TWO = lease.Holder("two", 2, "20", "boot")


def later(seconds: float) -> dict[str, Any]:
    """Both clocks so much later; nothing but ``uptime`` decides."""
    return {"now": clock.plus(NOW, seconds), "uptime": 1000.0 + seconds}


def take(store: Store, who: lease.Holder, seconds: float = 0.0, **options: Any) -> int | None:
    return store.run(lease.acquire, who, **later(seconds), **options)


def test_a_held_lease_is_not_given_to_another(store: Store) -> None:
    assert take(store, ONE) == 1
    assert take(store, TWO, lease.TTL_SECONDS - 0.001) is None


def test_a_lease_that_has_run_out_goes_to_the_next_under_a_new_term(store: Store) -> None:
    take(store, ONE)
    assert take(store, TWO, lease.TTL_SECONDS) == 2
    with pytest.raises(LeaseLost):
        store.run(lease.require, 1, uptime=later(lease.TTL_SECONDS)["uptime"])


def test_a_holder_found_dead_is_followed_at_once_but_only_that_very_term(store: Store) -> None:
    take(store, ONE)
    assert take(store, TWO, dead_term=1) == 2
    assert take(store, ONE, dead_term=1) is None, "the dead one's successor is alive"


def test_a_holder_that_wakes_after_its_time_can_neither_write_nor_renew(store: Store) -> None:
    take(store, ONE)
    with pytest.raises(LeaseLost):
        store.run(lease.require, 1, uptime=later(lease.TTL_SECONDS)["uptime"])
    with pytest.raises(LeaseLost):
        store.run(lease.renew, 1, **later(lease.TTL_SECONDS))


def test_renewing_lasts_from_then_on(store: Store) -> None:
    take(store, ONE)
    store.run(lease.renew, 1, **later(5))
    store.run(lease.require, 1, uptime=later(5 + lease.TTL_SECONDS - 0.001)["uptime"])


def test_a_released_lease_is_free_at_once(store: Store) -> None:
    take(store, ONE)
    store.run(lease.release, 1, now=later(1)["now"])
    assert take(store, TWO, 1) == 2


def test_whoever_takes_the_lease_records_since_when_nobody_held_it(store: Store) -> None:
    take(store, ONE)
    store.run(lease.renew, 1, **later(3))
    take(store, TWO, 60)
    store.run(lease.release, 2, now=later(70)["now"])
    take(store, ONE, 90)

    sql = "SELECT data ->> '$.idle_since' AS since FROM event WHERE kind = 'lease_acquired' ORDER BY event_id"
    assert [row["since"] for row in store.read(lambda tx: tx.all(sql))] == [None, later(3)["now"], later(70)["now"]]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wall_clock_that_jumps_neither_ends_a_lease_nor_prolongs_it(store: Store, hours: int) -> None:
    take(store, ONE)
    jumped = clock.plus(NOW, 3600 * hours)
    assert store.run(lease.acquire, TWO, now=jumped, uptime=1001.0) is None
    store.run(lease.require, 1, uptime=1001.0)
    assert store.run(lease.acquire, TWO, now=jumped, uptime=1000.0 + lease.TTL_SECONDS) == 2


def test_one_that_had_to_wait_for_the_database_takes_no_lease_from_the_living(store: Store) -> None:
    """It looked at the clock before the holder renewed, and comes to its turn after that."""
    take(store, ONE)
    store.run(lease.renew, 1, **later(lease.TTL_SECONDS - 1))
    assert take(store, TWO, 4.0) is None


def test_a_lease_of_an_earlier_boot_holds_nobody_up(store: Store) -> None:
    """Its time says nothing; that its holder is gone does."""
    take(store, ONE, 1_000_000)
    assert take(store, TWO, dead_term=1) == 2
