"""What ``agents`` answers with."""

from pydantic import BaseModel

from .shape import Result


class Agent(BaseModel):
    """An agent as ``list`` shows it; ``health`` adds what it measured."""

    agent_id: str
    agent_type: str
    status: str
    task_id: str | None = None
    pid: int | None = None
    uptime_seconds: float | None = None
    last_heartbeat: str | None = None
    restarts: int | None = None
    health: str | None = None
    process_alive: bool | None = None
    cpu_percent: float | None = None
    memory_mb: float | None = None
    seconds_since_heartbeat: float | None = None
    reasons: list[str] | None = None


class Scheduled(BaseModel):
    agent_id: str
    task_id: str
    reason: str
    restarting_in_seconds: float


class Killed(BaseModel):
    agent_id: str
    task_id: str | None
    seconds_since_heartbeat: float
    kill_signal: str | None


class AgentsShown(Result):
    """What a worker sees."""

    agents: list[Agent] | None = None
    total: int | None = None
    agent_id: str | None = None
    last_heartbeat: str | None = None
    next_heartbeat_due: str | None = None


class AgentsResult(AgentsShown):
    health_status: str | None = None
    agents_checked: int | None = None
    agents_healthy: int | None = None
    agents_warning: int | None = None
    agents_stalled: int | None = None
    agents_dead: int | None = None
    agents_restarted: int | None = None
    pid: int | None = None
    worktree_path: str | None = None
    started_at: str | None = None
    task_id: str | None = None
    old_agent_id: str | None = None
    new_agent_id: str | None = None
    attempt: int | None = None
    restarting_in_seconds: float | None = None
    agents_scheduled: list[Scheduled] | None = None
    agents_killed: int | None = None
    killed_agents: list[Killed] | None = None
    killed_gracefully: bool | None = None
    kill_signal: str | None = None
    killed_at: str | None = None
    message: str | None = None
    text: str | None = None
    uri: str | None = None
