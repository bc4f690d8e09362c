"""The echo backend repeats a text word by word, within its limits."""

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Delta, Finished, GenerationRequest, TextPrompt


def spoken(options: EchoOptions, text: str, **fields: int) -> tuple[str, Finished]:
    """Return the whole answer of an idle backend, and its end."""
    backend = EchoBackend(options)
    backend.load(lambda _part: None)
    backend.begin(1, backend.prepare(GenerationRequest(prompt=TextPrompt(text), **fields)))
    words: list[str] = []
    while True:
        for job_id, output in backend.step():
            assert job_id == 1
            if isinstance(output, Finished):
                assert backend.step() == []
                return "".join(words), output
            assert isinstance(output, Delta)
            words.append(output.text)


def test_the_text_is_said_as_often_as_it_is_told_and_no_longer_than_it_may() -> None:
    text, end = spoken(EchoOptions(repeat=3), "wood lake ")
    assert (text, end.reason, end.completion_tokens) == ("wood lake " * 3, "stop", 6)
    text, end = spoken(EchoOptions(repeat=3), "wood lake ", max_tokens=5)
    assert (text, end.reason, end.completion_tokens) == ("wood lake wood lake wood ", "length", 5)
    text, end = spoken(EchoOptions(repeat=3), "wood lake ", max_tokens=6)
    assert (text, end.reason) == ("wood lake " * 3, "stop")


def test_an_answer_without_a_word_ends_at_once() -> None:
    for options, fields in ((EchoOptions(repeat=0), {}), (EchoOptions(), {"max_tokens": 0})):
        text, end = spoken(options, "wood", **fields)
        assert (text, end.completion_tokens) == ("", 0)
        assert end.reason == ("stop" if options.repeat == 0 else "length")


def test_no_answer_is_too_long_to_be_prepared() -> None:
    """Words are made step by step, so an answer that would fill all memory can begin."""
    options = EchoOptions(context=10**15, repeat=10**12)
    backend = EchoBackend(options)
    job = backend.prepare(GenerationRequest(prompt=TextPrompt("wood lake ")))
    assert job.last == 2 * 10**12
    text, end = spoken(options, "wood lake ", max_tokens=3)
    assert (text, end.reason) == ("wood lake wood ", "length")


def test_a_step_that_computes_in_python_says_the_same() -> None:
    options = EchoOptions(step_seconds=0.001, python_seconds=0.001)
    assert spoken(options, "wood lake ") == spoken(EchoOptions(), "wood lake ")


def test_pieces_are_said_again_and_again_too() -> None:
    text, end = spoken(EchoOptions(piece=3, repeat=2), "snowy")
    assert (text, end.completion_tokens) == ("snowysnowy", 4)
