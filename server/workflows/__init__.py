"""Document 003: projects that flow through stages, each with a queue and a pool of workers. One noun a file.

An item of a queue becomes a task when a worker gets it, and from then on everything that holds for tasks holds for it:
its agent, its worktree, restarts, evidence, the merge. What is here decides who gets what and what comes after it.
"""
