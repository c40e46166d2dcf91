"""What ``mcp dev server/app.py:app`` and ``mcp run server/app.py:app`` load, by path; hence the absolute imports."""

from pathlib import Path

from crewyard.server.compose import build_app, build_yard

app = build_app(build_yard(Path.cwd()))
