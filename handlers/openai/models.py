"""GET /models and GET /models/{model_id}."""

from typing import Any

import msgspec
from msgspec import UNSET

from jan.engine.base import ModelInfo
from jan.errors import NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.models import Modalities, Model, ModelList
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE


class ModelEntries(Handler):
    """The base of both: makes a model's entry."""

    def entry(self, name: str) -> Model:
        """Make the entry of an id or alias. Raises NotFound."""
        served = self.services.models.get(name)
        entry = Model(
            id=name,
            created=served.created,
            alias_of=UNSET if name == served.id else served.id,
            loaded=served.loaded,
            engine=served.kind,
            modalities=Modalities(input=["text"], output=["text"]),
        )
        return _with_abilities(entry, served.engine.info) if served.loaded else entry


class Models(ModelEntries):
    """The models that requests can name."""

    @operation(
        summary="List available models",
        access=ANONYMOUS_OR_INFERENCE,
        tag="models",
        response=ModelList,
        examples=(Example(summary="All models"),),
    )
    async def get(self) -> ModelList:
        """List every id and alias that a request can give as its model."""
        return ModelList(data=[self.entry(name) for name in self.services.models.names])


class OneModel(ModelEntries):
    """One of the models."""

    @operation(
        summary="Get a model",
        access=ANONYMOUS_OR_INFERENCE,
        tag="models",
        response=Model,
        errors=(NotFound,),
        examples=(Example(summary="The default model", path={"model_id": "jan-v1-4b"}),),
    )
    async def get(self, model_id: str) -> Model:
        """Return the model with this id or alias."""
        return self.entry(model_id)


def _with_abilities(entry: Model, info: ModelInfo) -> Model:
    """Add what is known of a loaded model."""
    forms: dict[str, Any] = {}
    if (chats := info.chats) is not None:
        forms = {"dialect": chats.dialect, "tools": chats.tools, "reasoning": bool(chats.reasoning)}
    length = info.context_length
    return msgspec.structs.replace(
        entry, context_length=length, context_window=length, max_model_len=length, **forms
    )
