"""Settings of stored responses, and of those that are made in the background."""

from datetime import timedelta
from typing import Annotated

import msgspec

Most = Annotated[int, msgspec.Meta(ge=1)]


class ResponseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Responses in the store.

    - ``keep_days``: how long responses in no named conversation are stored, from the last one of those that follow
      one another; None: for ever.
    - ``max_queued``: the most background responses that wait or are made, of all users.
    - ``max_queued_per_user``: the most of one user.
    - ``max_running``: the most that one server makes at a time. Each waits in its model's queue like others.
    - ``lease_seconds``: how long another server waits for one that died before it goes on with its responses.
    """

    keep_days: Annotated[float, msgspec.Meta(gt=0, le=36_500)] | None = None
    max_queued: Most = 1000
    max_queued_per_user: Most = 100
    max_running: Most = 64
    lease_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 15.0

    @property
    def kept(self) -> timedelta | None:
        """How long responses are stored that are in no named conversation; None: for ever."""
        return None if self.keep_days is None else timedelta(days=self.keep_days)
