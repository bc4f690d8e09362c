"""Turns the parts of an item's content into those of a message. ``place``: the path of the item in the request."""

from handlers.openai.sampling import refused
from jan.schema.messages import (
    AudioPart,
    FilePart,
    ImagePart,
    OnlyTextPart,
    RefusalPart,
    TextPart,
    UserPart,
)
from jan.schema.response_items import InputAudio, InputFile, InputImage, InputPart, OutputRefusal


def user_content(content: str | list[InputPart]) -> str | list[UserPart]:
    """Return what a user said, in the form of chat completions."""
    return content if isinstance(content, str) else [_user_part(part) for part in content]


def _user_part(part: InputPart) -> UserPart:
    if isinstance(part, InputImage):
        return ImagePart(image_url={"url": part.image_url or part.file_id})
    if isinstance(part, InputFile):
        return FilePart(file={"file_id": part.file_id})
    if isinstance(part, InputAudio):
        return AudioPart(input_audio=part.input_audio)
    return TextPart(text=part.refusal if isinstance(part, OutputRefusal) else part.text)


def answer_content(content: str | list[InputPart], place: str) -> str | list[TextPart | RefusalPart]:
    """Return what the assistant said, in the form of chat completions. Raises InvalidRequest unless it is text."""
    if isinstance(content, str):
        return content
    return [
        RefusalPart(refusal=part.refusal)
        if isinstance(part, OutputRefusal)
        else TextPart(text=_only_text(part, f"{place}.content[{at}]"))
        for at, part in enumerate(content)
    ]


def instructions_of(content: str | list[InputPart], place: str) -> str | list[OnlyTextPart]:
    """Return instructions in the form of chat completions. Raises InvalidRequest for other than text."""
    if isinstance(content, str):
        return content
    return [
        OnlyTextPart(type="text", text=_only_text(part, f"{place}.content[{at}]"))
        for at, part in enumerate(content)
    ]


def text_of(content: str | list[InputPart], place: str) -> str:
    """Return the text of the result of a call. Raises InvalidRequest for other than text."""
    if isinstance(content, str):
        return content
    return "\n".join(_only_text(part, f"{place}.output[{at}]") for at, part in enumerate(content))


def _only_text(part: InputPart, place: str) -> str:
    if isinstance(part, InputImage | InputFile | InputAudio):
        kind = part.__struct_config__.tag
        raise refused(place, f"A part of type '{kind}' is not allowed here; allowed: text.")
    return part.refusal if isinstance(part, OutputRefusal) else part.text
