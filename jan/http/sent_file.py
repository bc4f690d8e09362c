"""A file in the body of a request: the body itself, or the first file of a form (RFC 7578)."""

from email.message import Message

from tornado.httputil import HTTPFile, HTTPInputError, parse_multipart_form_data

from jan.errors import InvalidRequest
from jan.schema.documents import SentFile

_LONGEST_NAME = 255
_LONGEST_BOUNDARY = 70


def sent_file(content_type: str, data: bytes) -> SentFile:
    """Return the file of a body with this Content-Type. Raises InvalidRequest for a form without one."""
    kind = _parsed(content_type)
    if kind.get_content_type() != "multipart/form-data":
        return SentFile(data=data, charset=_charset(kind))
    boundary = kind.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
        raise InvalidRequest("The Content-Type multipart/form-data needs a boundary of at most 70 characters.")
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_multipart_form_data(boundary.encode(), data, {}, files)
    except (HTTPInputError, ValueError) as error:
        raise InvalidRequest("The body is no form as its Content-Type says.") from error
    for found in (one for several in files.values() for one in several):
        name = found.filename[:_LONGEST_NAME]
        return SentFile(data=found.body, name=name, charset=_charset(_parsed(found.content_type)))
    raise InvalidRequest("file: The form has no file.", param="file")


def _parsed(content_type: str) -> Message:
    parsed = Message()
    parsed["Content-Type"] = content_type or "application/octet-stream"
    return parsed


def _charset(kind: Message) -> str:
    found = kind.get_param("charset", "")
    return found.lower() if isinstance(found, str) else ""
