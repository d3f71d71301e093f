"""The one exception whose message is meant for the user: what was wrong, where, and what would be right."""


class CodekdError(Exception):
    """Bad input, data or environment. Printed without a traceback, exit code 1."""


class NotFiniteError(CodekdError):
    """A number that is infinite, or not a number, where a model is to go on with it."""
