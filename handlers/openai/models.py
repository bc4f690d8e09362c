"""GET /models and GET /models/{model_id}."""

from jan.errors import NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.models import Model, ModelList
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE


class Models(Handler):
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
        models = self.services.models
        return ModelList(data=[Model(id=name, created=models.get(name).created) for name in models.names])


class OneModel(Handler):
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
        return Model(id=model_id, created=self.services.models.get(model_id).created)
