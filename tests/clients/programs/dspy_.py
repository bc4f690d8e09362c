"""DSPy with its default adapter, streamed, and with the Responses API."""

from typing import Any

import dspy
from programs.shared import NOBODY, SCRIPTED, TEXT, refused


def _model(url: str, key: str, model: str = SCRIPTED, **more: Any) -> Any:
    return dspy.LM(f"openai/{model}", api_base=f"{url}/v1", api_key=key, cache=False, **more)


def chat(url: str, key: str) -> Any:
    with dspy.context(lm=_model(url, key)):
        return dspy.Predict("question -> answer")(question=TEXT).answer


async def stream(url: str, key: str) -> Any:
    listener = dspy.streaming.StreamListener(signature_field_name="answer")
    program = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])
    with dspy.context(lm=_model(url, key)):
        found = [piece async for piece in program(question=TEXT)]
    pieces = [piece.chunk for piece in found if isinstance(piece, dspy.streaming.StreamResponse)]
    assert pieces
    return "".join(pieces).strip()


def responses(url: str, key: str) -> Any:
    with dspy.context(lm=_model(url, key, model_type="responses")):
        return dspy.Predict("question -> answer")(question=TEXT).answer


def errors(url: str, key: str) -> Any:
    return str(refused(Exception, _model(url, key, NOBODY, num_retries=0), TEXT))
