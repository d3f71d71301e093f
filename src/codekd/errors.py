"""Exceptions whose messages are meant for the user: what was wrong, where, and what would be right."""


class CodekdError(Exception):
    """Error in the input, the data or the environment; commands print it without a traceback and exit with code 1."""


class NotFiniteError(CodekdError):
    """Infinite or NaN value, such as a loss or a gradient, with which a model cannot go on."""
