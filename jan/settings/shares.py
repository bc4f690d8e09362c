"""Settings of conversations that are shared by links."""

from datetime import timedelta
from typing import Annotated

import msgspec


class ShareSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Links that show a conversation to whoever has them.

    - ``enabled``: users may make them. Where they may not, those that were made before open nothing.
    - ``max_days``: how long a link works at most, also one that was made before.
    """

    enabled: bool = False
    max_days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 30.0

    @property
    def longest(self) -> timedelta:
        """How long a link works at most."""
        return timedelta(days=self.max_days)
