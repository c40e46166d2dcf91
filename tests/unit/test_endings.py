"""What the last words of a failed agent say: a provider's limit, and when it is over."""

import pytest

from crewyard.server import clock, endings
from crewyard.server.sections import QUOTA_PATTERN

NOW = "2026-01-01T00:00:00.000Z"
NOW_UNIX = 1767225600


def quota(tail: str, pattern: str = QUOTA_PATTERN) -> endings.Quota | None:
    return endings.quota(tail, pattern, now=NOW)


@pytest.mark.parametrize(
    "said",
    [
        "Claude AI usage limit reached|1767229200",
        "Claude usage limit reached. Your limit will reset at 3pm (America/New_York).",
        "5-hour limit reached ∙ resets 3pm",
        "Weekly limit reached ∙ resets Oct 9 at 10:30am",
        "Opus weekly limit reached",
        "Session limit reached ∙ resets 5pm",
        "You've hit your limit · resets 3am (Europe/Berlin)",
        "■ You've hit your usage limit. Upgrade to Pro or try again in 3 days 4 hours.",
        'API Error: 429 {"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed …"}}',
        "Rate limit reached for gpt-5 in organization org-x on tokens per min (TPM): Limit 30000, Used 29000",
        "You exceeded your current quota, please check your plan and billing details.",
        '"code": "insufficient_quota"',
        "Quota exceeded for quota metric 'Gemini 2.5 Pro Requests' and limit 'Gemini 2.5 Pro Requests per day'",
        "[API Error: You have exhausted your daily quota on this model.]",
        "Error: usage_limit_reached",
    ],
)
def test_what_providers_say_of_their_limits(said: str) -> None:
    found = quota(f"working\n{said}\n\n")
    assert found is not None
    assert found.said == said.strip()


@pytest.mark.parametrize(
    "said",
    [
        "test_rate_limit PASSED",
        "TypeError: limit must be a number",
        "assert response.status_code == 429",
        "E   the rate limit of the login form is not enforced",
        "API Error: prompt is too long: token limit exceeded (205000 > 200000)",  # waiting would not mend it
        "OSError: [Errno 122] Disk quota exceeded",
        "recursion limit reached",
        "the limit was hit by 3 of 5 clients",
        "",
    ],
)
def test_what_is_no_providers_limit(said: str) -> None:
    assert quota(said) is None


def test_only_the_last_lines_count() -> None:
    said = "Claude AI usage limit reached"
    assert quota("\n".join([said, *["x"] * 19])) is not None
    assert quota("\n".join([said, *["x"] * 20])) is None


def test_the_last_line_that_says_so_counts() -> None:
    found = quota("usage limit reached|1767229200\nusage limit reached|1767232800")
    assert found is not None
    assert found.until == "2026-01-01T02:00:00.000Z"


@pytest.mark.parametrize(
    ("named", "until"),
    [
        (str(NOW_UNIX + 3600), "2026-01-01T01:00:00.000Z"),
        (str(NOW_UNIX - 1), None),  # over already: the pause of the settings
        (str(NOW_UNIX), None),
        (str(NOW_UNIX + 8 * 24 * 3600), None),  # not even a weekly limit lasts so long
        (str(NOW_UNIX + 8 * 24 * 3600 - 1), "2026-01-08T23:59:59.000Z"),
        ("9999999999", None),
        ("0000000000", None),
    ],
)
def test_the_time_that_a_program_names_is_believed_where_it_can_be_one(named: str, until: str | None) -> None:
    found = quota(f"Claude AI usage limit reached|{named}")
    assert found is not None
    assert found.until == until


@pytest.mark.parametrize(
    ("named", "until"),
    [
        ("2026-01-01T05:00:00+01:00", "2026-01-01T04:00:00.000Z"),
        ("2026-01-01T05:00:00", "2026-01-01T05:00:00.000Z"),
        ("99999999999999999999", None),
        ("2026-13-01T00:00:00Z", None),
        ("tomorrow", None),
        ("٣٤٥", None),
        ("", None),
    ],
)
def test_a_pattern_of_ones_own_may_name_the_end_in_other_ways(named: str, until: str | None) -> None:
    found = quota(f"full until {named}!", r"full until (?P<reset>[^!]*)!")
    assert found is not None
    assert found.until == until


def test_an_empty_pattern_finds_nothing() -> None:
    assert quota("Claude AI usage limit reached", "") is None


def test_what_was_said_is_cut() -> None:
    found = quota("usage limit reached " + "x" * 1000)
    assert found is not None
    assert len(found.said) == 200


def test_the_unix_time_of_this_file_is_right() -> None:
    assert clock.parse(NOW).timestamp() == NOW_UNIX


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "  + Exception Group Traceback\n    | ValueError: odd\n    +------------------------------------\n",
            "ValueError: odd",
        ),
        ("===== 1 failed in 0.1s =====\n\n", "1 failed in 0.1s"),
        ("boom\n\x1b[0m\n", "boom"),
        ("über\n...\n", "über"),
        ("----\n", "----"),
        ("", ""),
        ("word " * 10, "word wor…"),
    ],
)
def test_the_last_words_are_the_last_line_that_says_something(output: str, words: str) -> None:
    assert endings.last_words(output, 9 if words.endswith("…") else 99) == words


UNCOMPILED = '  File "{}", line 1\n    a b\n      ^\nSyntaxError: invalid syntax\n'


@pytest.mark.parametrize(
    ("output", "broken"),
    [
        (UNCOMPILED.format("/opt/agent.py"), True),
        (UNCOMPILED.format("/w/A/src/made.py"), False),
        (UNCOMPILED.format("made.py"), False),
        ("I ran the tests.\n" + UNCOMPILED.format("/opt/agent.py"), False),
        ("SyntaxError: invalid syntax", False),
    ],
)
def test_r118_only_a_program_that_does_not_compile_itself_is_broken(output: str, *, broken: bool) -> None:
    assert endings.is_program_broken(output, "/w/A") == broken


@pytest.mark.parametrize("named", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "9" * 5_000, "٣", "-1"])
def test_a_time_that_is_none_is_left_out(named: str) -> None:
    found = quota(f"over: {named}", pattern=r"over: (?P<reset>\S+)")
    assert found is not None
    assert found.until is None
