"""GET /models."""

from typing import Literal

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that requests may name; ``created`` in seconds since the epoch."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "jan"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All models that requests may name."""

    object: Literal["list"] = "list"
    data: list[Model]
