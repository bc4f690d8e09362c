"""POST /imports: conversations from files of other applications."""

from codecs import BOM_UTF8

from jan.errors import InvalidRequest, Unavailable
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.documents import SentFile
from jan.schema.import_reports import ImportQuery, ImportReport
from jan.schema.scopes import WRITE

_MOST_NAMED = 10_000
_ZIP = b"PK\x03\x04"
_EXPORTED = (
    '[{"uuid":"5f0c","name":"A greeting","created_at":"2026-01-01T00:00:00Z","chat_messages":'
    '[{"uuid":"1","sender":"human","text":"Hello!"},{"uuid":"2","sender":"assistant","text":"Hi!"}]}]'
)


class ForeignImports(Handler):
    """Conversations of other applications."""

    @operation(
        summary="Import conversations of another application",
        access=WRITE,
        tag="conversations",
        query=ImportQuery,
        request=SentFile,
        request_media_type="multipart/form-data",
        response=ImportReport,
        errors=(InvalidRequest, Unavailable),
        examples=(Example(summary="A conversation of Claude", body={"file": _EXPORTED}),),
    )
    async def post(self, body: SentFile, query: ImportQuery) -> ImportReport:
        """Import the conversations in an export of ChatGPT, Claude, LibreChat, LM Studio, Open WebUI or the page
        of llama.cpp's server: an array of them, one, or a line for each. The file is the body itself, or the first
        file of a form. Send a large one in parts, each an array of some of its conversations.

        Each conversation is imported as a whole or not at all, and only once: sent again, it is `known`. What is
        left out is named in `skipped`. A quota ends the import with `error`, and what was imported before stays.
        """
        if body.data.startswith(_ZIP):
            message = "file: It is a ZIP archive. Send the JSON in it, or use `jan import`, which reads archives."
            raise InvalidRequest(message, param="file")
        if not _begins_as_json(body.data):
            raise InvalidRequest("file: It is no JSON. Exports of conversations begin with [ or {.", param="file")
        run = self.services.conversations.foreign_import(self.user_id, query.source, most_named=_MOST_NAMED)
        report = await run.run([body.data], first=query.first)
        if not report.total:
            raise InvalidRequest("file: It has no conversations.", param="file")
        return report


def _begins_as_json(data: bytes) -> bool:
    return data.removeprefix(BOM_UTF8).lstrip()[:1] in (b"{", b"[")
