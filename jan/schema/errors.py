"""The error envelope of every unsuccessful response."""

import msgspec


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """The error for a person (``message``) and for a program (``type``, ``param``, ``code``)."""

    message: str
    type: str
    param: str | None = None
    code: str


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """Body of every response that is not a success."""

    error: ErrorDetail
