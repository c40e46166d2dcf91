"""What people do in a simulated day: judge what failed, raise and stop projects, call an emergency, ask for its end."""

from typing import TYPE_CHECKING

from crewyard.server.store import Row
from crewyard.server.workflows import forecasts, items, projects, reviews, staffing, stops, triage
from crewyard.server.workflows.capacity import Host

from .world import HOUR, MINUTE

if TYPE_CHECKING:
    from .day import Day

JUDGED_AFTER = 20 * MINUTE
FORECAST_EVERY = HOUR


class People:
    """Of one day."""

    def __init__(self, day: "Day") -> None:
        self._day = day
        self._seen: set[int] = set()
        world, hours = day.world, day.world.hours
        for _ in range(world.stopped):
            day.at_hour(day.chance.uniform(1.0, hours), self._stop_somebody)
            day.at_hour(day.chance.uniform(1.0, hours), self._raise_somebody)
        if world.emergency:
            day.at_hour(world.rush_hour + 0.25, self._call_an_emergency)

    def look(self) -> None:
        """Whatever has come to the review queue is judged after a while."""
        for item in self._day.store.read(items.in_review):
            if item["item_id"] not in self._seen:
                self._seen.add(item["item_id"])
                self._day.after(JUDGED_AFTER, lambda item=item: self._judge(item))

    def ask_when_it_ends(self) -> None:
        day = self._day
        seen = day.store.read(forecasts.situation, day.line, now=day.now)
        day.store.run(forecasts.record, seen, seen.outlook(day.chance.getrandbits(32)), now=day.now)
        day.after(FORECAST_EVERY, self.ask_when_it_ends)

    def _judge(self, item: Row) -> None:
        """Mostly once more; some go back a stage, a few are given up."""
        self._seen.discard(item["item_id"])
        day = self._day
        if day.store.read(projects.get, item["project_id"])["status"] == "held":
            return
        can_return = item["workflow"] != day.line.first
        exit_ = day.chance.choices(("retry", "return", "reject"), (6, 3 * can_return, 1))[0]
        day.run(reviews.decide, day.line, reviews.Verdict(item["project_id"], exit_, "So it was judged."))

    def _stop_somebody(self) -> None:
        day = self._day
        if chosen := self._somebody():
            day.run(stops.stop, chosen, why="Somebody has a question.", grace_seconds=5.0)
            day.after(HOUR, lambda: day.run(stops.resume, day.line, chosen, why="It is answered."))

    def _raise_somebody(self) -> None:
        if chosen := self._somebody():
            self._day.run(projects.set_priority, chosen, projects.level("urgent"))

    def _somebody(self) -> str:
        names = [row["project_id"] for row in self._day.rows("SELECT * FROM project WHERE status = 'active'")]
        return str(self._day.chance.choice(names)) if names else ""

    def _call_an_emergency(self) -> None:
        """The procedure for an overload (R-230), but for the message to administrators."""
        day = self._day
        day.run(staffing.emergency, day.line, "all", Host())
        day.run(triage.raise_urgent, day.line)
