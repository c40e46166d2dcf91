"""Which waiting merges are checked together."""

import math

from hypothesis import given
from hypothesis import strategies as st

from crewyard.server.batches import Search


def checks_until_done(count: int, culprits: set[int], limit: int) -> tuple[int, set[int], set[int]]:
    """Work a queue off as the merger does; returns the checks made, and what was merged and refused."""
    queue, search, checks, merged, refused = list(range(count)), Search(), 0, set[int](), set[int]()
    while queue:
        batch = search.next(queue, limit)
        checks += 1
        if culprits & set(batch):
            if len(batch) == 1:
                refused.add(queue.pop(queue.index(batch[0])))
            search = search.failed(batch, str(batch))
        else:
            queue = [each for each in queue if each not in batch]
            merged |= set(batch)
            search = search.done_with(batch)
    return checks, merged, refused


def test_a_green_batch_takes_one_check() -> None:
    assert checks_until_done(16, set(), 16) == (1, set(range(16)), set())


@given(st.integers(1, 16), st.integers(0, 15))
def test_one_culprit_is_found_with_few_checks_and_the_others_are_merged(count: int, culprit: int) -> None:
    culprit %= count
    checks, merged, refused = checks_until_done(count, {culprit}, 16)

    assert refused == {culprit}
    assert merged == set(range(count)) - {culprit}
    assert checks <= 2 * math.ceil(math.log2(count)) + 2


@given(st.integers(1, 24), st.sets(st.integers(0, 23)), st.integers(1, 16))
def test_just_the_culprits_are_refused_however_many_there_are(count: int, culprits: set[int], limit: int) -> None:
    _, merged, refused = checks_until_done(count, culprits, limit)

    assert refused == culprits & set(range(count))
    assert merged == set(range(count)) - culprits


def test_suspects_that_left_the_queue_do_not_hold_it_up() -> None:
    search = Search().failed([1, 2, 3, 4], "tree")

    assert search.next([7, 8], 16) == [7, 8]
