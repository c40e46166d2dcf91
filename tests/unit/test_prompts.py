"""What an agent is told: its task, what that builds on, its mail, and how to report."""

import json
from typing import Any

import pytest

from crewyard.server import agents, assignments, enclosures, kinds, launches, messages, prompts, reports, tasks
from crewyard.server.history import History
from crewyard.server.prompts import Briefing, Deed
from crewyard.server.sections import Agent
from crewyard.server.store import Row, Transaction

NOW = "2026-01-01T00:00:00.000Z"
LATER = "2026-01-01T00:10:00.000Z"


def composed(bench: Any, briefing: Briefing, task_id: str = "A") -> str:
    return str(bench.store.read(lambda tx: prompts.compose(tx, tasks.get(tx, task_id), briefing)))


def planned(bench: Any, task_id: str = "A", agent_type: str = "builder") -> Row:
    """An agent whose launch is recorded and not made."""

    def plan(tx: Transaction) -> Row:
        work = assignments.of_task(tx, task_id) or assignments.create(
            tx, tasks.get(tx, task_id), agent_type=agent_type, dispatch_id=None, now=NOW, actor="test"
        )
        number = launches.next_attempt(tx, task_id)
        order = launches.LaunchOrder(
            agent_type=agent_type, kind="command", task_id=task_id, orchestrator_task_id=work["orchestrator_task_id"],
            workspace=f"/w/{task_id}", runs_folder="/runs", timeout_seconds=60, memory_limit_mb=None,
            token_hash=agents.hash_token(f"{task_id} {number} {agents.of_task(tx, task_id)}"), term=1,
        )  # fmt: skip
        return launches.plan_launch(tx, order, now=NOW, actor="test")

    return bench.store.run(plan)


def start(bench: Any, agent: Row) -> None:
    identity = {"pid": 1, "start_time": "1", "boot_id": "b"}
    bench.store.run(launches.runner_started, agent["agent_id"], **identity)
    bench.store.run(launches.started, agent["agent_id"], **identity, at=NOW, actor="test")


def end(bench: Any, agent: Row, status: str = "failed") -> None:
    bench.store.run(agents.ended, agent["agent_id"], agents.Exit(status, NOW, message="It died."), actor="test")


def send(bench: Any, target: str, text: str, *, sender: str = "lead", **more: Any) -> str:
    draft = messages.Draft(target, "answer", text, **more)
    given = {"sender": sender, "agent_types": ("builder", "architect"), "max_queue": 999, "now": NOW}
    return str(bench.store.run(messages.send, draft, **given).message_ids[0])


def put_in(bench: Any, agent: Row, *, can_poll: bool = False, now: str = NOW) -> list[str]:
    """What the agent's prompt gets of mail, in its order."""
    row = bench.store.read(agents.get, agent["agent_id"])
    found = bench.store.run(enclosures.put_in, row, can_poll=can_poll, now=now)
    return [json.loads(each["content"]) for each in found]


def state(bench: Any, message_id: str) -> Row:
    return bench.store.read(messages.get, message_id)


# ------------------------------------------------------------------------------------------------------- the prompt


def test_a_program_that_can_call_is_told_to_report_to_ask_and_to_read_its_mail(bench: Any) -> None:
    bench.add_tasks("A")
    prompt = composed(bench, Briefing("roadmap"))
    for words in ('report(action="progress"', 'report(action="question"', 'route(action="poll", wait_seconds=50)',
                  'report(action="complete"', "acknowledge"):  # fmt: skip
        assert words in prompt
    assert "Exit with 0" not in prompt, "it does not choose how it exits"


def test_a_program_that_cannot_call_is_told_of_no_tools(bench: Any) -> None:
    bench.add_tasks("A")
    prompt = composed(bench, Briefing("roadmap", can_call=False))
    for word in ("crewyard", "report", "route(", "poll", "MCP"):
        assert word not in prompt
    assert "Exit with 0 when the task is done" in prompt


@pytest.mark.parametrize(("commits", "words"), [(True, "Commit what you did"), (False, "Do not commit")])
def test_who_may_not_commit_is_not_told_to(bench: Any, commits: bool, words: str) -> None:
    bench.add_tasks("A")
    assert words in composed(bench, Briefing("roadmap", commits=commits))


def test_a_conversation_that_goes_on_is_told_so_in_one_sentence(bench: Any) -> None:
    bench.add_tasks("A")
    sentence = "This goes on from your earlier conversation"
    assert sentence not in composed(bench, Briefing("roadmap"))
    assert composed(bench, Briefing("roadmap", resumes=True)).count(sentence) == 1


def test_what_its_dependencies_did_is_told_and_bounded(bench: Any) -> None:
    bench.add_tasks("A")
    files = [f"src/f{n}.py" for n in range(40)]
    deeds = [
        Deed("D0", "Add the port", "c0ffee" * 6, "The port is 8080.\nSee f.py.", ["Add it", "Test it"], files),
        Deed("D1", "Look", None, None),
        Deed("D2", "Long", "decaf" * 8, "x" * 5_000, ["y" * 500] * 50),
        *(Deed(f"E{n}", "More", "c0ffee", "said", ["subject"], ["file"]) for n in range(60)),
    ]
    prompt = composed(bench, Briefing("roadmap", built_on=deeds))
    assert "- D0: Add the port (merged as c0ffeec0ffee)\n  Its agent reported: The port is 8080.\n  See f.py." in prompt
    assert "  Commits: Add it; Test it\n  Files: `src/f0.py`" in prompt
    assert "and 25 more" in prompt
    assert "- D1: Look (done without a merge)" in prompt
    assert "- and 33 more" in prompt
    assert len(prompt) < 12_000


def test_what_was_done_for_a_task_is_known_from_its_last_merge_and_its_agents_word(bench: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    agent = bench.add_agent("A")
    for kind, words in (("complete", "first"), ("complete", "second"), ("progress", "later")):
        bench.store.run(reports.record, agent, kind, words, now=NOW)
    assert bench.store.read(reports.completion_of, "A") == "second"
    assert bench.store.read(reports.completion_of, "B") is None


def test_a_merge_tells_its_commits_and_files_and_one_that_is_gone_nothing(git_repo: Any, git: Any) -> None:
    git(git_repo, "switch", "--quiet", "-c", "side")
    for name in ("a b.txt", "c.txt"):
        (git_repo / name).write_text("x\n")
        git(git_repo, "add", "--", name)
        git(git_repo, "commit", "--quiet", "-m", f"Add {name}")
    git(git_repo, "switch", "--quiet", "main")
    (git_repo / "other.txt").write_text("x\n")
    git(git_repo, "add", "--", "other.txt")
    git(git_repo, "commit", "--quiet", "-m", "Something else")
    git(git_repo, "merge", "--quiet", "--no-ff", "-m", "Merge", "side")
    history = History(git_repo)
    merge = git(git_repo, "rev-parse", "HEAD")
    assert history.brought_by(merge) == (["Add c.txt", "Add a b.txt"], ["a b.txt", "c.txt"])
    assert history.brought_by("0" * 40) == ([], [])


@pytest.mark.parametrize(
    ("agent", "can_call", "goes_on"),
    [
        (Agent(kind="claude"), True, True),
        (Agent(kind="command", command=["x"]), False, False),
        (Agent(kind="command", command=["x", "--mcp-config={mcp_config}"]), True, False),
        (Agent(kind="command", command=["x"], resume_command=["x", "--resume"]), False, True),
        (Agent(kind="scripted"), False, False),
    ],
)
def test_a_command_that_is_told_where_our_server_is_can_call_it(agent: Agent, can_call: bool, goes_on: bool) -> None:
    assert (kinds.can_call(agent), kinds.goes_on(agent)) == (can_call, goes_on)


# ---------------------------------------------------------------------------------------------------- mail in it


def test_mail_in_a_prompt_names_sender_and_time_and_quotes_what_was_said(bench: Any) -> None:
    bench.add_tasks("A")
    send(bench, "builder", "Take port 8080.\n# Not a heading of ours")
    send(bench, "builder", {"port": 8080}, sender="architect")  # type: ignore[arg-type]
    row = bench.store.read(agents.get, planned(bench)["agent_id"])
    mail = bench.store.run(enclosures.put_in, row, can_poll=False, now=NOW)
    prompt = composed(bench, Briefing("roadmap", can_call=False, mail=mail))
    assert f"From lead at {NOW} (answer, to builder):\n> Take port 8080.\n> # Not a heading of ours" in prompt
    assert f'From architect at {NOW} (answer, to builder):\n> {{"port": 8080}}' in prompt


def test_each_message_is_in_one_prompt_only(bench: Any) -> None:
    bench.add_tasks("A", "B", "C")
    names = [send(bench, "builder", f"m{n}") for n in range(30)]
    first, second = planned(bench, "A"), planned(bench, "B")
    found = [put_in(bench, first), put_in(bench, second)]
    assert [len(each) for each in found] == [enclosures.MOST, 10]
    assert found[0] + found[1] == [f"m{n}" for n in range(30)]
    for agent in (first, second):
        start(bench, agent)
    assert {state(bench, name)["status"] for name in names} == {"acknowledged"}
    assert put_in(bench, planned(bench, "C")) == []


def test_what_does_not_fit_waits_for_the_next_prompt_and_the_first_always_fits(bench: Any) -> None:
    bench.add_tasks("A", "B")
    for text in ("x" * 60_000, "y" * 9_000, "z" * 9_000):
        send(bench, "builder", text)
    found = [[words[0] for words in put_in(bench, planned(bench, name))] for name in "AB"]
    assert found == [["x"], ["y"]]


def test_mail_of_a_launch_that_is_given_up_waits_for_the_next_as_if_it_had_never_been_taken(bench: Any) -> None:
    bench.add_tasks("A")
    name = send(bench, "builder", "hello")
    before = dict(state(bench, name))
    given_up = planned(bench)
    assert put_in(bench, given_up) == ["hello"]
    held = state(bench, name)
    assert (held["status"], held["claimed_by"]) == ("delivered", given_up["agent_id"])
    later = "2026-03-01T00:00:00.000Z"
    assert bench.store.run(messages.claim, ["builder"], reader="x", limit=9, lease_seconds=9, now=later) == []
    end(bench, given_up, "lost")
    assert dict(state(bench, name)) == before
    again = planned(bench)
    assert put_in(bench, again) == ["hello"]
    start(bench, again)
    end(bench, again)
    assert state(bench, name)["status"] == "acknowledged", "it was started: that it died afterwards gives nothing back"


def test_a_program_that_polls_fetches_its_own_mail_and_gets_that_of_its_predecessors(bench: Any) -> None:
    bench.add_tasks("A")
    asker = planned(bench)
    start(bench, asker)
    bench.store.run(reports.record, asker["agent_id"], "question", "which colour?", now=NOW)
    end(bench, asker, "completed")
    answer, other = send(bench, asker["agent_id"], "blue"), send(bench, "builder", "for anybody")
    heir = planned(bench)
    assert put_in(bench, heir, can_poll=True) == ["blue"]
    assert not bench.store.read(reports.waits, asker["agent_id"]), "it is answered"
    start(bench, heir)
    assert [state(bench, name)["status"] for name in (answer, other)] == ["acknowledged", "pending"]


def test_what_an_earlier_attempt_was_told_is_shown_to_the_next_without_being_delivered_again(bench: Any) -> None:
    bench.add_tasks("A")
    first = planned(bench)
    send(bench, "builder", "blue")
    assert put_in(bench, first) == ["blue"]
    start(bench, first)
    polled = send(bench, first["agent_id"], "and green")
    who = {"reader": first["agent_id"], "now": NOW}
    bench.store.run(messages.claim, [first["agent_id"]], limit=9, lease_seconds=60, **who)
    bench.store.run(messages.acknowledge, [polled], [first["agent_id"]], **who)
    end(bench, first)
    second = planned(bench)
    assert put_in(bench, second) == []
    row = bench.store.read(agents.get, second["agent_id"])
    told = bench.store.read(enclosures.earlier, row)
    assert [json.loads(each["content"]) for each in told] == ["blue", "and green"]
    assert "## Mail that an earlier attempt got" in composed(bench, Briefing("roadmap", earlier_mail=told))
