"""Which agent a run means, and what is said where there is none."""

from pathlib import Path

import pytest

from crewyard.server import preflight
from crewyard.server.errors import ConfigurationError
from crewyard.server.settings import Settings


def configured(**kinds: str) -> Settings:
    tables = {name: {"kind": kind} for name, kind in kinds.items()}
    return Settings.model_validate({"agents": tables})


@pytest.mark.parametrize(
    ("settings", "wanted", "meant"),
    [
        (configured(), "claude", "claude"),
        (configured(), "scripted", "scripted"),
        (configured(builder="claude"), "claude", "builder"),
        (configured(builder="claude", claude="codex"), "claude", "claude"),
        (configured(builder="claude"), "codex", "codex"),
        (configured(a="scripted"), "scripted", "a"),
    ],
)
def test_an_agent_is_meant_by_its_name_or_its_kind_and_needs_no_configuration(
    settings: Settings, wanted: str, meant: str
) -> None:
    assert preflight.resolve_agent(settings, wanted) == meant
    assert settings.agent(meant).kind in ("claude", "codex", "scripted")


@pytest.mark.parametrize(
    ("settings", "wanted", "words", "cure"),
    [
        (configured(a="claude", b="claude"), "claude", "a, b are all of that kind", "Name one"),
        (configured(a="claude"), "clade", "no agent type 'clade'", "'claude'"),
        (configured(a="claude"), "nobody", "no agent type 'nobody'", "crewyard init"),
        (configured(), "clade", "no agent type 'clade'", "'claude'"),
        (configured(), "zzz", "there without a table: claude, codex", "crewyard init"),
    ],
)
def test_what_could_mean_several_or_none_is_refused(settings: Settings, wanted: str, words: str, cure: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        preflight.resolve_agent(settings, wanted)

    assert words in refused.value.message
    assert cure in refused.value.hint


def test_a_task_does_not_get_a_configured_program_without_its_settings() -> None:
    with pytest.raises(ConfigurationError, match="claude is configured as builder"):
        configured(builder="claude").agent("claude")


def test_a_program_that_is_on_path_is_named_and_not_started_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="No agent is configured") as refused:
        preflight.require_agents(Settings(), ["code_developer"], tmp_path)
    assert "`crewyard init`" in refused.value.hint
    assert "--agent" not in refused.value.hint

    (tmp_path / "claude").write_text("#!/bin/sh\n")
    (tmp_path / "claude").chmod(0o755)
    with pytest.raises(ConfigurationError) as refused:
        preflight.require_agents(Settings(), ["code_developer"], tmp_path)
    assert "`crewyard run PLAN --agent claude`" in refused.value.hint
    preflight.require_agents(Settings(), ["claude"], tmp_path)


def test_the_words_of_a_whole_command_line_are_no_program(tmp_path: Path) -> None:
    settings = Settings.model_validate({"agents": {"a": {"kind": "claude", "program": "claude --print"}}})
    with pytest.raises(ConfigurationError) as refused:
        preflight.require_agents(settings, ["a"], tmp_path)

    assert "`arguments`" in refused.value.hint
