"""Events as frames of a stream."""

import msgspec

from jan.http.sse import Frames, TextForm, TextRun

_TEXTS = ["plain", "", '"quoted" \\ and\nbroken', "\0\x1f\u2028", "é😀", "\\u0000"]


class Event(msgspec.Struct):
    """The text is not the last of it, and what is around it has what could be taken for it."""

    name: str
    text: str
    others: tuple[str, ...] = ("\0", '"', "\\u0000")


def test_the_events_of_a_run_look_as_if_they_were_sent_alone() -> None:
    """Whatever the texts are, a run's frames are byte by byte those of its events, numbered on."""
    form = TextForm(lambda text: Event("\0\\\0", text))
    alone, run = Frames(), Frames()
    expected = [frame for text in _TEXTS for frame in alone.each(form.make(text))]
    assert run.each(TextRun(form, _TEXTS[:3])) + run.each(TextRun(form, _TEXTS[3:])) == expected
    assert run.each(form.make("next")) == alone.each(form.make("next"))


def test_events_that_go_out_together() -> None:
    """The frames of a list are those of its events."""
    events = [Event("a", text) for text in _TEXTS]
    alone, together = Frames(), Frames()
    assert together.together(events) == b"".join([alone.together(event) for event in events])


def test_a_run_as_one_event() -> None:
    form = TextForm(lambda text: Event("a", text))
    assert TextRun(form, _TEXTS).whole() == Event("a", "".join(_TEXTS))
