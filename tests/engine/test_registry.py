"""Engines by name: ours, and classes of others with options of their own."""

from typing import Any

import pytest

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Engine
from jan.engine.registry import create_engine
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import ConfigurationError
from jan.settings.names import DottedName
from jan.testing import model, served

CHAT = {"model": "mine", "messages": [{"role": "user", "content": "one two"}]}


class Loud(EchoBackend):
    """A backend of somebody's own, which counts how often it is made."""

    made = 0

    class Options(EchoOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The options of a loud engine."""

        volume: int = 1

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        type(self).made += 1
        if options.volume > 11:
            raise ConfigurationError("options.volume: It goes to 11.")


class Plain(EchoBackend):
    """A backend without options."""

    Options = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(EchoOptions())


class NoEngine:
    """It can only be loaded."""

    def load(self) -> None:
        """An engine that loads nothing."""


def create(kind: str | type, **options: Any) -> Engine:
    name = DottedName(kind) if isinstance(kind, str) else DottedName.of(kind)
    return create_engine("mine", name, options, EngineRules(), lambda: None)


def test_a_backend_of_ones_own_is_served() -> None:
    """It runs on the engine's thread, with its options; the one that was made to check them is the one that
    runs."""
    Loud.made = 0
    with served(models=[model("mine", Loud, volume=3, repeat=2)]) as server:
        answer = server.client.post("/v1/chat/completions", json=CHAT).json()
        assert answer["choices"][0]["message"]["content"] == "one twoone two"
        assert server.client.get("/v1/models").json()["data"][0]["id"] == "mine"
        assert server.errors == []
    assert Loud.made == 1


def test_a_backend_may_have_no_options() -> None:
    """It is made without any then, and any that are given are a mistake."""
    assert isinstance(create(Plain), ThreadedEngine)
    with pytest.raises(ConfigurationError, match=r"^options: Plain takes none\.$"):
        create(Plain, volume=1)


WRONG = {
    "no name of ours": ("vroom", {}, r"^engine: Unknown engine 'vroom'; allowed: echo, .*, or module\.Class\.$"),
    "no module": ("nowhere.Mine", {}, r"^engine: Can't import 'nowhere\.Mine': No module named 'nowhere'; "),
    "no class of it": ("jan.engine.rules.Mine", {}, "^engine: Can't import 'jan.engine.rules.Mine': "),
    "neither backend nor engine": (
        NoEngine,
        {},
        "is no engine. It lacks prepare, .* of Backend or start, ",
    ),
    "unknown option": (Loud, {"volum": 1}, r"^options\.volum: Unknown key 'volum'; allowed: .*volume"),
    "wrong option": (Loud, {"volume": "loud"}, r"^options\.volume: Expected `int`"),
    "refused option": (Loud, {"volume": 12}, r"^options\.volume: It goes to 11\.$"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_sentence(case: str) -> None:
    """It begins with the path in the model's settings and says what is allowed."""
    kind, options, words = WRONG[case]
    with pytest.raises(ConfigurationError, match=words):
        create(kind, **options)
