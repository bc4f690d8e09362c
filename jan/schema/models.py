"""GET /models and GET /models/{model}."""

from typing import Literal

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that requests can name. ``created`` is in seconds since 1970."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "jan"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All models that requests can name."""

    object: Literal["list"] = "list"
    data: list[Model]
