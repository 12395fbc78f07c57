"""Every draw is keyed: by a seed and by what is drawn (an epoch, a step, an episode), never by what ran before.

Nothing here touches the global generators of random or NumPy; for torch see `torch_seeding`.
"""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def text_key(text: str) -> int:
    """Return 64 bits that stand for a text, the same on every machine and in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return a NumPy generator for one draw, such as `generator(seed, "epoch", 3)`."""
    return np.random.default_rng([_natural(seed), *(_natural(part) for part in key)])


def torch_seed(seed: int, *key: int | str) -> int:
    """Return a 63-bit seed for torch, for one draw."""
    return int(generator(seed, *key).integers(2**63))


def hashed_bits(*parts: "np.ndarray | int") -> np.ndarray:
    """Mix integers, elementwise and broadcast, into 64 well-spread bits: a random number that follows from its key.

    Args:
        parts: uint64 arrays or integers, broadcast together, such as seed, episode (B, 1) and row key (N,).

    Returns:
        uint64, the broadcast shape, here (B, N).

    Source: the finaliser of splitmix64, Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    bits: np.ndarray = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            word = np.uint64(_natural(part)) if isinstance(part, int) else part.astype(np.uint64, copy=False)
            bits = (bits ^ word) + _GOLDEN
            bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bits = bits ^ (bits >> np.uint64(31))
    return bits


def _natural(part: int | str) -> int:
    return text_key(part) if isinstance(part, str) else int(part) % 2**64
