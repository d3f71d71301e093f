"""Stable hashes of text, for ids and for choices that must be the same on every machine."""

from hashlib import blake2b


def digest(*parts: str) -> str:
    """Hash (BLAKE2b) of 32 hexadecimal digits that depends on the parts and on where one ends and the next begins."""
    hasher = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()


def number(*parts: str) -> int:
    """The :func:`digest` as an integer, to choose by remainder."""
    return int(digest(*parts), 16)
