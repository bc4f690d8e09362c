"""Answers are read as vLLM's and SGLang's own parsers read them, however they are cut."""

import random
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import pytest
from support.peers import ask
from support.peers.agreement import (
    Compared,
    Difference,
    Reading,
    known_differences,
    peer_reading,
    reading_of,
    summary,
)
from support.peers.dialects import WRITERS
from support.peers.scenarios import TOOLS, Output, odd_outputs, outputs, random_outputs
from support.peers.writers import dumps, question

from jan.engine.answers.reading import ReadAnswer, read_answer
from jan.engine.prompts.dialects import Dialect
from jan.schema.tools import Tool

# The forms of calls and of reasoning that each writer writes.
DIALECTS = {
    "hermes": Dialect(tools="hermes", reasoning="think"),
    "qwen3_coder": Dialect(tools="qwen3_coder", reasoning="think"),
    "step": Dialect(tools="qwen3_coder", reasoning="think"),
    "nemotron": Dialect(tools="qwen3_coder", reasoning="think"),
    "glm": Dialect(tools="glm", reasoning="think"),
    "glm47": Dialect(tools="glm47", reasoning="think"),
    "mistral": Dialect(tools="mistral", reasoning="mistral"),
    "mistral_tekken": Dialect(tools="mistral", reasoning="mistral"),
    "mistral_args": Dialect(tools="mistral_args", reasoning="mistral"),
    "llama3": Dialect(tools="llama3"),
    "llama3_tag": Dialect(tools="llama3"),
    "pythonic": Dialect(tools="pythonic"),
    "llama4": Dialect(tools="pythonic"),
    "lfm2": Dialect(tools="lfm2", reasoning="think"),
    "deepseek_v3": Dialect(tools="deepseek_v3", reasoning="think"),
    "deepseek_v31": Dialect(tools="deepseek_v31", reasoning="think"),
    "kimi_k2": Dialect(tools="kimi", reasoning="think"),
    "gemma4": Dialect(tools="gemma4", reasoning="gemma4"),
    "function_gemma": Dialect(tools="function_gemma"),
    "command_r": Dialect(tools="command", reasoning="command"),
    "granite": Dialect(tools="granite", reasoning="granite"),
    "granite31": Dialect(tools="granite31"),
    "jamba": Dialect(tools="jamba"),
    "ernie45": Dialect(tools="hermes", reasoning="response"),
    "hunyuan": Dialect(tools="jamba", reasoning="answer"),
    "phi4": Dialect(tools="phi4"),
    "seed_oss": Dialect(tools="seed", reasoning="seed"),
    "minimax": Dialect(tools="minimax", reasoning="think"),
    "gpt_oss": Dialect(tools="harmony", reasoning="harmony"),
}
DIFFERENCES = Path(__file__).parent / "differences.yaml"
#: Random calls of each dialect, the same ones in each run.
RANDOM = 12
#: A longer answer is cut in two at this many places of it, not at all.
CUTS = 12
_TOOLS = tuple(msgspec.convert(tool, Tool) for tool in TOOLS)


def corpus(dialect: str) -> list[Output]:
    writer = WRITERS[dialect]
    return [*outputs(writer), *odd_outputs(dialect), *random_outputs(writer, dialect, RANDOM)]


def read(dialect: str, output: Output, pieces: Sequence[str] = ()) -> ReadAnswer:
    form = msgspec.structs.replace(DIALECTS[dialect], begins_inside=output.inside)
    return read_answer(form, [piece.encode() for piece in pieces] or output.text, _TOOLS)


def ours(dialect: str, output: Output) -> Reading:
    answer = read(dialect, output)
    return reading_of(answer.reasoning, answer.content, [(call.name, call.arguments) for call in answer.calls])


@pytest.fixture(scope="module")
def compared(cache_dir: Path) -> list[Compared]:
    """All answers of all dialects, as we and the peers read them."""
    asked = [(dialect, output) for dialect in DIALECTS for output in corpus(dialect)]
    questions = [
        question(WRITERS[dialect], each.text, thinks="reasoning" in each.name, inside=each.inside)
        for dialect, each in asked
    ]
    answered = ask(cache_dir, questions, TOOLS)
    return [
        Compared(
            dialect=dialect,
            output=output,
            ours=ours(dialect, output),
            peers={
                peer: {way: peer_reading(said) for way, said in ways.items()} for peer, ways in readings.items()
            },
        )
        for (dialect, output), readings in zip(asked, answered, strict=True)
    ]


@pytest.fixture(scope="module")
def differences() -> tuple[Difference, ...]:
    return known_differences(DIFFERENCES)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_answers_mean_what_was_written(dialect: str) -> None:
    """The calls that a writer wrote are read, with all values and types, and nothing else."""
    for output in corpus(dialect):
        if output.meaning is not None:
            reasoning, content, calls = output.meaning
            assert ours(dialect, output) == reading_of(
                reasoning, content, [(name, dumps(arguments)) for name, arguments in calls]
            ), output


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_is_read_as_the_whole(dialect: str) -> None:
    """However an answer is cut into pieces, the same is read."""
    draw = random.Random(dialect)
    for output in corpus(dialect):
        text, whole = output.text, read(dialect, output)
        assert read(dialect, output, list(text)) == whole, output
        for at in draw.sample(range(1, len(text)), min(CUTS, len(text) - 1)):
            assert read(dialect, output, [text[:at], text[at:]]) == whole, (output, at)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
def test_peers_read_the_same(
    dialect: str,
    compared: list[Compared],
    differences: tuple[Difference, ...],
    record_property: Callable[[str, object], None],
) -> None:
    """Our reading is that of each peer, but for the differences that are listed with who is right and why."""
    of_dialect = [each for each in compared if each.dialect == dialect]
    record_property("printed", summary(dialect, of_dialect))
    unknown = [
        str(each)
        for each in of_dialect
        for peer in each.differing
        if not any(known.explains(dialect, each.output.name, peer) for known in differences)
    ]
    assert not unknown, "\n".join(unknown)


@pytest.mark.slow
def test_every_listed_difference_exists(compared: list[Compared], differences: tuple[Difference, ...]) -> None:
    """A difference that is gone is no longer listed, nor a dialect or peer that has it no more."""
    found = [(each.dialect, each.output.name, peer) for each in compared for peer in each.differing]
    for known in differences:
        explained = [case for case in found if known.explains(*case)]
        assert explained, known
        assert set(known.dialects) <= {dialect for dialect, _, _ in explained}, known
        for pattern in known.outputs:
            assert any(fnmatchcase(name, pattern) for _, name, _ in explained), (pattern, known)
