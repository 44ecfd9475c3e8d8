"""JSON objects that tell whether they are as they were written."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGEST = "digest"


def seal(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with a digest of them. Raises ValueError or TypeError for what is none of JSON."""
    plain = json.loads(json.dumps(values, allow_nan=False))
    return {**plain, DIGEST: _digest(plain)}


def unseal(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values without their digest, None where they are others than were sealed. What has no digest, being
    of before there was one, is given back as it is."""
    rest = {name: value for name, value in values.items() if name != DIGEST}
    return rest if DIGEST not in values or values[DIGEST] == _digest(rest) else None


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
