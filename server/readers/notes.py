"""What a reader finds out beside the plan: problems, which refuse it whole, and warnings, which do not."""

from typing import NoReturn

from ..errors import PlanRefused

SHOWN_PROBLEMS = 5
KEPT_PROBLEMS = 50
SHOWN_PLACES = 3


class Notes:
    """Collects the notes on one plan; ``name`` is the file's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problem_count = 0
        self._problems: list[str] = []
        self._hint = ""
        self._warnings: dict[str, list[str]] = {}

    @property
    def wants_more(self) -> bool:
        """Whether another problem would still be shown, so that a costly explanation of it pays."""
        return self.problem_count < SHOWN_PROBLEMS

    def problem(self, text: str, *, hint: str = "") -> None:
        """Something for which the plan is refused."""
        self.problem_count += 1
        self._hint = self._hint or hint
        if len(self._problems) < KEPT_PROBLEMS:
            self._problems.append(text)

    def warn(self, text: str, place: str = "") -> None:
        """Something that finds no place; equal texts are told once, with their places."""
        self._warnings.setdefault(text, []).append(place)

    def warnings(self) -> tuple[str, ...]:
        return tuple(_with_places(text, list(filter(None, places))) for text, places in self._warnings.items())

    def refuse(self, text: str, *, hint: str = "") -> NoReturn:
        """Give up at once, for what leaves nothing to go on with. Raises PlanRefused."""
        self.problem(text, hint=hint)
        self.refuse_if_problems()
        raise AssertionError("a problem was just noted")  # pragma: no cover

    def refuse_if_problems(self) -> None:
        """Raises PlanRefused with the number of problems and the first few of them."""
        if not self.problem_count:
            return
        shown = self._problems[:SHOWN_PROBLEMS]
        more = self.problem_count - len(shown)
        text = "; ".join(shown) + (f"; and {more} more" if more else "")
        count = f" {self.problem_count} problems:" if self.problem_count > 1 else ""
        raise PlanRefused(
            f"{self.name}:{count} {text}{'' if text.endswith(('?', '.')) else '.'}",
            hint=self._hint or "Mend the plan and import it again; nothing was changed.",
            name=self.name,
            problem_count=self.problem_count,
            problems=self._problems,
        )


def _with_places(text: str, places: list[str]) -> str:
    if not places:
        return text
    more = f" and {len(places) - SHOWN_PLACES} more" if len(places) > SHOWN_PLACES else ""
    return f"{text} ({', '.join(places[:SHOWN_PLACES])}{more})"
