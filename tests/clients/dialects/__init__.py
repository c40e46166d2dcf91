"""How programs and models speak: one file a provider's protocol.

Each has ``PATH``, ``count`` (answers that need no script, or None), ``read`` (a request), ``search`` (the call that
makes tools callable which are kept back, or None), ``write`` (an answer) and ``refusal`` (the body of an error).
"""
