"""The served models and the URLs."""

from typing import Annotated, Any, Literal

import msgspec

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A served model. ``load`` lazy: at its first request. ``max_waiting``: requests that may wait for a slot,
    each of them for ``queue_timeout_seconds``. ``on_failure``: what is done when it makes no progress for
    ``stall_seconds``, or its thread dies. ``options`` are the engine's own."""

    id: Name
    engine: str
    aliases: tuple[Name, ...] = ()
    load: Literal["eager", "lazy"] = "eager"
    max_waiting: Annotated[int, msgspec.Meta(ge=1)] = 256
    queue_timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    stall_seconds: Annotated[float, msgspec.Meta(gt=0)] = 120.0
    on_failure: Literal["wait", "restart", "exit"] = "wait"
    options: dict[str, Any] = {}


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL. In ``path``, ``{api}`` stands for each of server.api_prefixes, ``{name}`` for one part of the
    path, ``{name:path}`` for the rest of it. ``handler`` is a class by its dotted name."""

    path: str
    handler: str
    name: str
    options: dict[str, Any] = {}
