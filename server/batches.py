"""Which of the waiting merges are checked together (pure).

n merges that are checked as one need one check. Where such a batch fails, its culprit is among it: the first half is
tried, then what is left, until one request fails alone. n requests with one culprit take about 2 log2 n checks. What is
merged on the way stays merged, for it passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Search:
    """What is known from failed checks: these requests failed together, and these trees failed."""

    suspects: tuple[int, ...] = ()
    failed_trees: frozenset[str] = frozenset()

    def next(self, due: Sequence[int], limit: int) -> list[int]:
        """Those of the due requests, in their order, that are to be tried together now; at most ``limit``."""
        suspects = [merge_id for merge_id in self.suspects if merge_id in due]
        if not suspects:
            return list(due[:limit])
        return suspects[: max(1, len(suspects) // 2)]

    def failed(self, tried: Sequence[int], tree: str) -> "Search":
        """Their check failed on ``tree``. Of one request alone that is the verdict, and the search is over."""
        trees = self.failed_trees | {tree}
        return Search(tuple(tried), trees) if len(tried) > 1 else Search((), trees)

    def done_with(self, tried: Sequence[int]) -> "Search":
        """They are merged, or out of the queue for another reason."""
        return replace(self, suspects=tuple(each for each in self.suspects if each not in tried))
