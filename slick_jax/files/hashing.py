"""Hashes that stand for content: of settings and files in JSON, and of an id for its random numbers. No JAX here."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def id_words(identifier: str) -> tuple[int, int]:
    """The two 32-bit words an example's id contributes to its keys: bytes 0-3 and 4-7 of SHA-256, big-endian."""
    first = hashlib.sha256(identifier.encode("utf-8")).digest()[:8]
    return int.from_bytes(first[:4], "big"), int.from_bytes(first[4:], "big")
