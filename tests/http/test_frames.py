"""Events as frames of a stream."""

import msgspec
import pytest

from jan.http.sse import Frames, TextForm, TypedFrames

_TEXTS = ["plain", "", '"quoted" \\ and\nbroken', "\0\x1f\u2028", "é😀", "\\u0000"]


class Event(msgspec.Struct, tag_field="type", tag="text.new"):
    """The text is not the last of it, and what is around it has what could be taken for it."""

    name: str
    text: str
    others: tuple[str, ...] = ("\0", '"', "\\u0000")


@pytest.mark.parametrize("kind", [Frames, TypedFrames])
def test_texts_look_as_if_their_events_were_encoded(kind: type[Frames]) -> None:
    """Whatever the texts are, their frames are byte by byte those of the events, numbered on or named."""
    form = TextForm(lambda text: Event("\0\\\0", text))
    alone, run = kind(), kind()
    expected = [frame for text in _TEXTS for frame in alone.each(form.make(text))]
    assert [*run.texts(form, _TEXTS[:3]), run.text(form, _TEXTS[3]), *run.texts(form, _TEXTS[4:])] == expected
    assert run.each(form.make("next")) == alone.each(form.make("next"))


def test_frames_are_named_by_the_type_of_their_event() -> None:
    form = TextForm(lambda text: Event("a", text))
    start = b'event: text.new\ndata: {"type":"text.new","name":"a","text":"hi"'
    assert TypedFrames().text(form, "hi").startswith(start)


def test_events_that_go_out_together() -> None:
    """The frames of a list are those of its events."""
    events = [Event("a", text) for text in _TEXTS]
    alone, together = Frames(), Frames()
    assert together.each(events) == [frame for event in events for frame in alone.each(event)]
