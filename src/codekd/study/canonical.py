"""Canonical JSON of values, which is equal for equal values, and its digest."""

import hashlib
import json
from typing import Any

LENGTH = 12
"""Hexadecimal digits of a digest."""


def canonical(value: Any) -> str:
    """JSON of a value with sorted keys and no spaces: equal values give equal strings.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:LENGTH]
