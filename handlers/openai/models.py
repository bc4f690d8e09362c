"""GET /models and GET /models/{model_id}."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from jan.engine.base import ModelInfo
from jan.errors import InvalidRequest, NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.models import Modalities, Model, ModelList, ModelsQuery
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE


class ModelEntries(Handler):
    """The base of both: makes a model's entry."""

    def entry(self, name: str) -> Model:
        """Make the entry of an id or alias. Raises NotFound."""
        served = self.services.models.get(name)
        entry = Model(
            id=name,
            display_name=name,
            created=served.created,
            created_at=f"{datetime.fromtimestamp(served.created, UTC):%Y-%m-%dT%H:%M:%SZ}",
            alias_of=UNSET if name == served.id else served.id,
            loaded=served.loaded,
            loading=UNSET if served.loading is None else round(served.loading, 3),
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
        query=ModelsQuery,
        response=ModelList,
        examples=(Example(summary="All models"),),
    )
    async def get(self, query: ModelsQuery) -> ModelList:
        """List every id and alias that a request can give as its model: those that the query asks for, or all."""
        names, more = _asked_for(list(self.services.models.names), query)
        return ModelList(
            data=[self.entry(name) for name in names],
            has_more=more,
            first_id=names[0] if names else None,
            last_id=names[-1] if names else None,
        )


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


def _asked_for(names: list[str], query: ModelsQuery) -> tuple[list[str], bool]:
    """Return the names that a query asks for, and whether there are more in its direction. Raises InvalidRequest
    for a position that is no model's."""
    for name, at in (("after_id", query.after_id), ("before_id", query.before_id)):
        if at is not None and at not in names:
            raise InvalidRequest(f"{name}: There is no model of this id.", code="invalid_value", param=name)
    if query.after_id is not None:
        names = names[names.index(query.after_id) + 1 :]
    if query.before_id is not None:
        names = names[: names.index(query.before_id)] if query.before_id in names else []
    count = len(names) if query.limit is None else query.limit
    backwards = query.before_id is not None and query.after_id is None
    return (names[max(0, len(names) - count) :] if backwards else names[:count]), count < len(names)


def _with_abilities(entry: Model, info: ModelInfo) -> Model:
    """Add what is known of a loaded model."""
    forms: dict[str, Any] = {}
    if (chats := info.chats) is not None:
        forms = {"dialect": chats.dialect, "tools": chats.tools, "reasoning": bool(chats.reasoning)}
    if (vectors := info.embeds) is not None:
        forms |= {
            "modalities": Modalities(input=["text"], output=["embeddings"]),
            "dimensions": vectors.dimensions,
        }
    elif info.scores:
        forms["modalities"] = Modalities(input=["text"], output=["scores"])
    if info.demo:
        forms["demo"] = True
    length = info.context_length
    return msgspec.structs.replace(
        entry, context_length=length, context_window=length, max_model_len=length, max_input_tokens=length, **forms
    )
