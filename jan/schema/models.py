"""GET /models and GET /models/{model}."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class Modalities(msgspec.Struct, frozen=True, kw_only=True):
    """The kinds of content that a model reads and writes."""

    input: list[Literal["text"]]
    output: list[Literal["text"]]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that requests can name. ``created`` is in seconds since 1970.

    ``alias_of``: the id of the model that this is another name of. The context is in tokens, prompt and answer
    together. It has the names of OpenRouter, Groq and vLLM, because clients look for different ones. What is known
    only of a loaded model is left out until it is loaded.

    ``dialect``: the form of tool calls. ``tools``: ``native`` if the chat template shows them in this form,
    ``instructions`` if they are explained to the model. ``reasoning``: the model's reasoning is told from its
    answers.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "jan"
    alias_of: str | UnsetType = UNSET
    loaded: bool
    engine: str
    modalities: Modalities
    context_length: int | UnsetType = UNSET
    context_window: int | UnsetType = UNSET
    max_model_len: int | UnsetType = UNSET
    dialect: str | UnsetType = UNSET
    tools: Literal["native", "instructions"] | UnsetType = UNSET
    reasoning: bool | UnsetType = UNSET


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All models that requests can name."""

    object: Literal["list"] = "list"
    data: list[Model]
