"""Stable hashes of text: for ids and for every choice that must come out alike on every machine."""

from hashlib import blake2b


def digest(*parts: str) -> str:
    """32 hexadecimal digits that depend on the parts and on where one ends and the next begins."""
    hasher = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()


def number(*parts: str) -> int:
    """The digest as an integer, to choose by remainder."""
    return int(digest(*parts), 16)
