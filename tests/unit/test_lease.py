"""One acting supervisor on one database."""

import pytest

from crewyard.server import clock, lease
from crewyard.server.errors import LeaseLost
from crewyard.server.store import Store

NOW = "2026-01-01T00:00:00.000Z"
ONE = lease.Holder("one", 1, "10", "boot")
TWO = lease.Holder("two", 2, "20", "boot")


def later(seconds: float) -> str:
    return clock.plus(NOW, seconds)


def test_a_held_lease_is_not_given_to_another(store: Store) -> None:
    assert store.run(lease.acquire, ONE, now=NOW) == 1
    assert store.run(lease.acquire, TWO, now=later(lease.TTL_SECONDS - 0.001)) is None


def test_a_lease_that_has_run_out_goes_to_the_next_under_a_new_term(store: Store) -> None:
    store.run(lease.acquire, ONE, now=NOW)
    assert store.run(lease.acquire, TWO, now=later(lease.TTL_SECONDS)) == 2
    with pytest.raises(LeaseLost):
        store.run(lease.require, 1, now=later(lease.TTL_SECONDS))


def test_a_holder_found_dead_is_followed_at_once_but_only_that_very_term(store: Store) -> None:
    store.run(lease.acquire, ONE, now=NOW)
    assert store.run(lease.acquire, TWO, now=NOW, dead_term=1) == 2
    assert store.run(lease.acquire, ONE, now=NOW, dead_term=1) is None, "the dead one's successor is alive"


def test_a_holder_that_wakes_after_its_time_can_neither_write_nor_renew(store: Store) -> None:
    store.run(lease.acquire, ONE, now=NOW)
    for unit in (lease.require, lease.renew):
        with pytest.raises(LeaseLost):
            store.run(unit, 1, now=later(lease.TTL_SECONDS))


def test_renewing_lasts_from_then_on(store: Store) -> None:
    store.run(lease.acquire, ONE, now=NOW)
    store.run(lease.renew, 1, now=later(5))
    store.run(lease.require, 1, now=later(5 + lease.TTL_SECONDS - 0.001))


def test_a_released_lease_is_free_at_once(store: Store) -> None:
    store.run(lease.acquire, ONE, now=NOW)
    store.run(lease.release, 1, now=later(1))
    assert store.run(lease.acquire, TWO, now=later(1)) == 2
