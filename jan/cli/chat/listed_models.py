"""Models as a server describes them, and as the chat lists them."""

from collections.abc import Sequence

import msgspec

from jan.schema.plain_text import printable


class _Modalities(msgspec.Struct, frozen=True):
    output: tuple[str, ...] = ("text",)


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of a server. What the server does not tell is None."""

    id: str
    modalities: _Modalities = _Modalities()
    context_length: int | None = None
    tools: str | None = None
    reasoning: bool | None = None
    loaded: bool | None = None
    loading: float | None = None

    @property
    def description(self) -> str:
        """Its context, what it can do, and whether it is loaded; '' if nothing of it is known."""
        return ", ".join(
            [
                *([f"context of {self.context_length} tokens"] if self.context_length else []),
                *(["tools"] if self.tools else []),
                *(["reasoning"] if self.reasoning else []),
                *([self._state] if self.loaded is not None else []),
            ]
        )

    @property
    def _state(self) -> str:
        if self.loading is not None:
            return f"loading, {self.loading:.0%} done"
        return "loaded" if self.loaded else "not loaded"


class ListedModels(msgspec.Struct, frozen=True):
    """The models of a server."""

    data: list[ListedModel]


def described_models(models: Sequence[ListedModel], current: str) -> list[str]:
    """Return a line for each model, with a star before the current one."""
    widest = max((len(printable(model.id)) for model in models), default=0)
    return [
        f"{'*' if model.id == current else ' '} {printable(model.id).ljust(widest)}  {model.description}".rstrip()
        for model in models
    ]
