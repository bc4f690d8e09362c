"""GET /models and GET /models/{model}."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType


class Modalities(msgspec.Struct, frozen=True, kw_only=True):
    """The kinds of content that a model reads and writes."""

    input: list[Literal["text"]]
    output: list[Literal["text", "embeddings", "scores"]]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that requests can name. ``created`` is in seconds since 1970.

    Anthropic's clients find their own names beside OpenAI's: ``type``, ``display_name``, ``created_at``.
    ``alias_of``: the id of the model that this is another name of. The context is in tokens, prompt and answer
    together. It has the names of OpenRouter, Groq, vLLM and Anthropic, because clients look for different ones.
    What is known only of a loaded model is left out until it is loaded. ``loading``: the part that is loaded, 0 to
    1, while it loads.

    ``dialect``: the form of tool calls. ``tools``: ``native`` if the chat template shows them in this form,
    ``instructions`` if they are explained to the model. ``reasoning``: the model's reasoning is told from its
    answers. ``dimensions``: numbers of the vectors of a model that embeds. ``demo``: true for the bundled model,
    which only shows that the server works.
    """

    id: str
    object: Literal["model"] = "model"
    type: Literal["model"] = "model"
    display_name: str
    created: int
    created_at: str
    owned_by: str = "jan"
    alias_of: str | UnsetType = UNSET
    loaded: bool
    loading: float | UnsetType = UNSET
    engine: str
    modalities: Modalities
    context_length: int | UnsetType = UNSET
    context_window: int | UnsetType = UNSET
    max_model_len: int | UnsetType = UNSET
    max_input_tokens: int | UnsetType = UNSET
    dialect: str | UnsetType = UNSET
    tools: Literal["native", "instructions"] | UnsetType = UNSET
    reasoning: bool | UnsetType = UNSET
    dimensions: int | UnsetType = UNSET
    demo: Literal[True] | UnsetType = UNSET


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The models that requests can name: all, or a part that the query asks for. ``first_id``, ``last_id``: those
    of this part; null if it is empty."""

    object: Literal["list"] = "list"
    data: list[Model]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None


class ModelsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list, as Anthropic's clients ask for it."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="Most models; default: all")] | None = None
    after_id: Annotated[str, Meta(description="Only models after this one")] | None = None
    before_id: Annotated[str, Meta(description="Only models before this one")] | None = None
