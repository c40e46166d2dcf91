"""Crewyard: an MCP server with which a lead coding agent runs a crew of coding agents in parallel."""

__version__ = "0.1.0"
