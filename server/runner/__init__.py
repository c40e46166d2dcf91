"""One agent's keeper, and the small process that they are forked from: standard library only, by path, no database.

A runner starts the agent, owns its output, bounds its time and memory, and reaps it with all that it leaves behind.
What happens goes, each line flushed to disk, to ``journal.jsonl`` in the run folder; the supervisor that holds the
lease takes it in, now or after the next start. So a runner stays small, knows no lock and no schema, and outlives the
server and its upgrades. Checks run under a runner as well.

All runners of a server are forked from one parent (``forkserver``) that has imported what they need: a runner costs a
millisecond and well under a megabyte of its own, where a Python of its own costs 15 ms and 6 MiB. When the server ends
the parent ends; its runners go on.
"""
