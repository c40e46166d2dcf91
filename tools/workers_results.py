"""What ``workers`` answers with."""

from pydantic import BaseModel

from .shape import Result


class Worker(BaseModel):
    """A worker as ``list`` shows it; ``health`` adds how its agent is."""

    worker_id: str
    workflow: str
    status: str
    agent_type: str
    origin: str
    until: str | None = None
    specialities: list[str] | None = None
    project_id: str | None = None
    task_id: str | None = None
    agent_id: str | None = None
    utilisation_percent: float | None = None
    done: int | None = None
    failed: int | None = None
    health: str | None = None
    seconds_since_heartbeat: float | None = None
    reasons: list[str] | None = None


class Crowd(BaseModel):
    """A workflow's workers."""

    workflow: str
    workers: int
    busy: int
    idle: int
    offline: int
    min_workers: int
    max_workers: int
    waiting: int
    utilisation_percent: float | None = None


class Changed(BaseModel):
    """Who came to a workflow, or left it, or why nobody did."""

    workflow: str
    workers: list[str]
    why_not: str | None = None


class WorkersResult(Result):
    health_status: str | None = None
    workers: list[Worker] | None = None
    workflows: list[Crowd] | None = None
    changed: list[Changed] | None = None
    message: str | None = None
