"""Lexical tokens of Python code by one regular expression: faster than ``tokenize``, and usable on fragments."""

import re

TOKEN = re.compile(
    r"""
      \#[^\n]*                                                  # a comment has no group
    | ( \"\"\"(?:\\.|[^\\])*?\"\"\" | '''(?:\\.|[^\\])*?'''
      | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
      | \w+ | [^\w\s] )
    """,
    re.VERBOSE | re.DOTALL,
)


def code_tokens(code: str) -> list[str]:
    """Names, numbers, string literals and single operator characters, without comments and white space."""
    return [token for token in TOKEN.findall(code) if token]
