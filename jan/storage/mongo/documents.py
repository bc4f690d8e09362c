"""Records as BSON documents: field for field, ``id`` as ``_id``, and JSON from clients as text.

Keys that a client chose (metadata, parts of a message) may contain what BSON or a server's query language
reserves: dots, dollars, NUL, integers of any size. As JSON text they return unchanged.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec

from jan.storage.audit import AuditEntry
from jan.storage.earlier_messages import EARLIER_FIELDS, message_of
from jan.storage.folded_text import fold
from jan.storage.preset_records import PresetRecord
from jan.storage.records import AnswerProgress, ConversationRecord, MessageRecord, Record

R = TypeVar("R", bound=Record)

Document = dict[str, Any]
# ``content`` and ``tool_calls`` are of messages that have no items yet.
_OPAQUE = ("content", "items", "metadata", "request", "response", "tool_calls")
_TEXT = "json"
#: The field of a message that is not in the index of texts yet, and ends as soon as it is.
UNSEARCHED = "unsearched"


def encode(struct: msgspec.Struct) -> Document:
    """Encode a record, or changes to one, as a document. Unset changes are left out."""
    fields: Document = msgspec.to_builtins(struct, builtin_types=(datetime,))
    document = {"_id" if name == "id" else name: value for name, value in fields.items()}
    for name in _OPAQUE:
        if isinstance(document.get(name), (dict, list, tuple)):
            document[name] = {_TEXT: msgspec.json.encode(document[name]).decode()}
    return document | derived(struct)


def decode(document: Mapping[str, Any], kind: type[R]) -> R:
    """Decode the record in a document."""
    fields = {"id" if name == "_id" else name: value for name, value in document.items()}
    for name in _OPAQUE:
        if isinstance(fields.get(name), dict):
            fields[name] = msgspec.json.decode(fields[name][_TEXT])
    return cast(R, message_of(fields)) if kind is MessageRecord else msgspec.convert(fields, kind)


def said(struct: MessageRecord | AnswerProgress) -> Document:
    """Return the update that stores what a message says, in place of what it said in any form."""
    ended = (*EARLIER_FIELDS, "grams")
    searched = {} if struct.status == "streaming" else {UNSEARCHED: True}
    return {"$set": encode(struct) | searched, "$unset": dict.fromkeys(ended, "")}


def derived(struct: msgspec.Struct) -> Document:
    """Return the fields that only serve indexes."""
    if isinstance(struct, ConversationRecord):
        fields = {"position": struct.position, "title_folded": fold(struct.title)}
        # The index has those that have one, and would take null for one.
        return fields if struct.origin_key is None else {**fields, "origin_key": struct.origin_key}
    if isinstance(struct, MessageRecord):
        waits = {} if struct.status == "streaming" else {UNSEARCHED: True}
        return {"completion_of": struct.completion_of} | waits
    if isinstance(struct, PresetRecord):
        # The index has those that have one, and would take null for one.
        default = {} if struct.default_key is None else {"default_key": struct.default_key}
        return {"name_key": struct.name_key} | default
    if isinstance(struct, AuditEntry):
        return {"position": struct.position}
    return {}
