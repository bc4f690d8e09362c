"""Settings of the audit."""

from typing import Annotated

import msgspec


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long audit entries are kept. ``keep_days`` null keeps them for ever."""

    keep_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None = 400
