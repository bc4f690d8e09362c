"""The applications whose conversations can be imported, and how they are told apart."""

from collections.abc import Callable, Iterable

import msgspec

from jan.importing.chatgpt import is_chatgpt, read_chatgpt
from jan.importing.claude import is_claude, read_claude
from jan.importing.foreign import Foreign, JsonObject, Notes, Unreadable
from jan.importing.librechat import is_librechat, read_librechat
from jan.importing.llamacpp_page import is_llamacpp, read_llamacpp
from jan.importing.lm_studio import is_lm_studio, read_lm_studio
from jan.importing.open_webui import is_open_webui, read_open_webui
from jan.importing.pieces import Piece
from jan.importing.trees import Check, origin_of, records_of
from jan.schema.import_reports import ForeignKind, SkippedItem
from jan.schema.plain_text import cleaned
from jan.storage.records import ConversationRecord, MessageRecord


class Application(msgspec.Struct, frozen=True):
    """An application: its name in the API and for people, and what recognises and reads its conversations."""

    kind: ForeignKind
    name: str
    recognises: Callable[[JsonObject], bool]
    read: Callable[[JsonObject, Notes], Foreign]


#: The order matters: what recognises more comes later.
APPLICATIONS = (
    Application("chatgpt", "ChatGPT", is_chatgpt, read_chatgpt),
    Application("claude", "Claude", is_claude, read_claude),
    Application("open-webui", "Open WebUI", is_open_webui, read_open_webui),
    Application("librechat", "LibreChat", is_librechat, read_librechat),
    Application("llama.cpp", "llama.cpp", is_llamacpp, read_llamacpp),
    Application("lm-studio", "LM Studio", is_lm_studio, read_lm_studio),
)


class ReadConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation of a file. ``record`` is None if it can't be imported. ``skipped``: what was left out."""

    kind: ForeignKind | None
    record: ConversationRecord | None = None
    messages: list[MessageRecord] = []
    skipped: list[SkippedItem] = []


def read_pieces(
    found: Iterable[Piece], source: ForeignKind | None, user_id: str, check: Check
) -> list[ReadConversation]:
    """Read the conversations of a file, of one application or of any. Slow: run it on a thread."""
    return [_read(piece, source, user_id, check) for piece in found]


def _read(piece: Piece, source: ForeignKind | None, user_id: str, check: Check) -> ReadConversation:
    notes = Notes()
    notes.conversation = f"conversation {piece.number} of the file"
    kind: ForeignKind | None = None
    try:
        found = _decoded(piece)
        application = _application(found, source)
        kind = application.kind
        foreign = _named(application, found, notes)
        origin = origin_of(kind, foreign.id, piece.data)
        record, messages = records_of(foreign, origin, user_id, check, notes)
    except Unreadable as error:
        # What was left out of its messages says less than why none of it was imported.
        return ReadConversation(kind=kind, skipped=[notes.item(str(error))])
    return ReadConversation(kind=kind, record=record, messages=messages, skipped=notes.skipped)


def _decoded(piece: Piece) -> JsonObject:
    if piece.fault:
        raise Unreadable(piece.fault)
    try:
        found = msgspec.json.decode(piece.data)
    except RecursionError:
        raise Unreadable("Its JSON is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"It is not valid JSON: {error}.") from None
    if not isinstance(found, dict):
        raise Unreadable("It is no JSON object.")
    return found


def _application(found: JsonObject, source: ForeignKind | None) -> Application:
    for application in APPLICATIONS:
        if source in (None, application.kind) and application.recognises(found):
            return application
    if source is None:
        names = ", ".join(one.name for one in APPLICATIONS)
        raise Unreadable(f"It is no conversation of a known application. Known: {names}.")
    name = next(one.name for one in APPLICATIONS if one.kind == source)
    raise Unreadable(f"It is no conversation of {name}.")


def _named(application: Application, found: JsonObject, notes: Notes) -> Foreign:
    """Read a conversation, and let its notes name it."""
    foreign = application.read(found, notes)
    title = cleaned(foreign.title[:200]).strip() or notes.conversation
    own_id = foreign.id[:128] or None
    notes.conversation, notes.conversation_id = title, own_id
    notes.skipped = [
        msgspec.structs.replace(one, conversation=title, conversation_id=own_id) for one in notes.skipped
    ]
    return foreign
