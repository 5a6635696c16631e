"""The errors of this project, and what each of them does to a script's exit code."""

from __future__ import annotations

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake that the user can mend. The message says what, where, and what to do.

    Scripts print it without a traceback and exit with code 2 (see `lorachain.cli.run`).
    """


class Interrupted(Exception):
    """The user asked to stop (Ctrl-C) and what was done so far is saved. Scripts exit with 130."""
