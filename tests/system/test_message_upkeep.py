"""What the supervisor does for the queue by itself, now and then."""

from typing import Any

from crewyard.server import clock, messages, settings
from crewyard.server.crew import Crew
from crewyard.server.supervisor import Supervisor

DAY = 24 * 3600


def test_mail_that_nobody_took_expires_and_what_ended_long_ago_is_deleted(
    crew: Crew, yard: Any, wait_until: Any
) -> None:
    yard.configure("[health]\ncheck_interval_seconds = 0.2\n")
    crew.settings = settings.load(yard.repo)
    then = clock.plus(clock.now(), -8 * DAY)
    draft = messages.Draft("builder", "question", "x")
    forgotten, read = (
        crew.store.run(
            messages.send, draft, sender="architect", agent_types=["builder"], max_queue=9, now=then
        ).message_ids[0]
        for _ in range(2)
    )
    crew.store.run(messages.acknowledge, [read], ["builder"], reader="builder", now=then)
    supervisor = Supervisor(crew)
    supervisor.start()

    def states() -> dict[str, str]:
        rows = crew.store.read(lambda tx: tx.all("SELECT message_id, status FROM agent_message"))
        return {row["message_id"]: row["status"] for row in rows}

    wait_until(lambda: states().get(forgotten) == "expired" and read not in states())
    supervisor.stop()
    [told] = crew.store.read(
        lambda tx: tx.all("SELECT to_agent FROM agent_message WHERE message_type = 'error_report'")
    )
    assert told["to_agent"] == "architect"
    cleared = crew.store.read(lambda tx: tx.all("SELECT actor FROM event WHERE kind = 'messages_cleared'"))
    assert len(cleared) == 1
