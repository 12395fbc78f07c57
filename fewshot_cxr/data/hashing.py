"""What a file holds, in 128 bits."""

import hashlib
from pathlib import Path


def file_hash(path: str | Path) -> str:
    """BLAKE2b (hex, 128 bits) over the bytes of a file."""
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
