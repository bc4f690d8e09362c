"""The request to a model, in one form for every API."""

import msgspec

from jan.engine.base import GenerationRequest


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a model, in any API's form. Every ``choices`` consecutive sequences share one prompt, whose
    tokens count once."""

    model: str
    sequences: tuple[GenerationRequest, ...]
    choices: int = 1
