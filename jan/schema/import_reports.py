"""POST /imports: reports about imports of other applications' conversations."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

ForeignKind = Literal["chatgpt", "claude", "librechat", "llama.cpp", "lm-studio", "open-webui"]


class ImportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of an import."""

    source: Annotated[
        ForeignKind | None,
        Meta(description="The application that wrote the file. Default: told by its content"),
    ] = None
    first: Annotated[
        int, Meta(ge=1, le=2**53, description="The place in the whole file of the first conversation that is sent")
    ] = 1


class SkippedItem(msgspec.Struct, frozen=True, kw_only=True):
    """A message, a part of one, or a whole conversation that was left out. The latter has no ``message_id``.

    ``conversation``: its title, or its place in the file. The ids are those of the other application.
    """

    conversation: str
    conversation_id: str | None = None
    message_id: str | None = None
    reason: str


class ImportStop(msgspec.Struct, frozen=True, kw_only=True):
    """The error that ended an import early."""

    code: str
    message: str


class ImportReport(msgspec.Struct, kw_only=True):
    """The number of a file's conversations that were imported, and of the others.

    - ``total``: those in the file. ``imported``: those that are new. ``known``: those imported before.
    - ``failed``: those that can't be read, which ``skipped`` names.
    - ``unnamed``: what was left out beyond the 10,000 items that ``skipped`` names.
    - ``untried``: those after the one at which the import ended with ``error``, such as a quota.
    """

    object: Literal["import"] = "import"
    sources: list[ForeignKind] = []
    total: int = 0
    imported: int = 0
    known: int = 0
    failed: int = 0
    untried: int = 0
    skipped: list[SkippedItem] = []
    unnamed: int = 0
    error: ImportStop | None = None
