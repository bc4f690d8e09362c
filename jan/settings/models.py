"""Settings of the served models and of the URLs."""

from typing import Annotated, Any, Literal

import msgspec

from jan.settings.names import DottedName

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]

Isolation = Literal["thread", "process"]


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A served model.

    - ``load``: eager at start-up, or lazy at the first request.
    - ``max_waiting``: how many requests may wait for a slot, each for at most ``queue_timeout_seconds``.
    - ``isolation``: where the model runs, on a thread of the server or in a process of its own; None: as its
      engine declares.
    - ``on_failure``: what to do if the model makes no progress for ``stall_seconds``, or its thread or process
      dies. None: restart a process, wait for a thread.
    - ``options``: options of the engine.
    """

    id: Name
    engine: DottedName
    aliases: tuple[Name, ...] = ()
    load: Literal["eager", "lazy"] = "eager"
    isolation: Isolation | None = None
    max_waiting: Annotated[int, msgspec.Meta(ge=1)] = 256
    queue_timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    stall_seconds: Annotated[float, msgspec.Meta(gt=0)] = 120.0
    on_failure: Literal["wait", "restart", "exit"] | None = None
    options: dict[str, Any] = {}


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL and the handler that serves it.

    - ``path``: ``{api}`` stands for each of server.api_prefixes, ``{name}`` for one part of the path, and
      ``{name:path}`` for the rest of it.
    - ``handler``: the dotted name of a class.
    - ``group``: the group of routes that ``endpoints`` switches together; '' for a route that is always there.
    """

    path: str
    handler: DottedName
    name: str
    group: str = ""
    options: dict[str, Any] = {}
