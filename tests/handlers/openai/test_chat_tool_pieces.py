"""Tool calls on their way from the engine's deltas to a chunk."""

from msgspec import UNSET

from handlers.openai.chat.chunks import ChatTranslator
from jan.engine.base import Delta, ToolCallFragment
from jan.schema.chat_completion import ToolCallDelta


def pieces(*fragments: ToolCallFragment) -> list[ToolCallDelta]:
    translator = ChatTranslator("chatcmpl-1", "m", with_usage=False, tier=UNSET)
    [chunk] = translator.make(0, Delta(tool_calls=fragments)) or []
    delta = chunk.choices[0].delta
    assert isinstance(delta.tool_calls, list)
    return delta.tool_calls


def test_a_chunk_has_one_piece_of_a_call() -> None:
    """A name and the arguments that came with it are one piece: clients take the first piece of a call in a
    chunk as the whole news of it (openai 1 and 2 raise on a second one)."""
    (piece,) = pieces(ToolCallFragment(index=0, name="get"), ToolCallFragment(index=0, arguments="{"))
    assert (piece.function.name, piece.function.arguments, piece.type) == ("get", "{", "function")
    assert isinstance(piece.id, str)


def test_later_pieces_carry_arguments_only() -> None:
    """Id, type and name are in a call's first piece only; fragments that were merged are joined."""
    (piece,) = pieces(ToolCallFragment(index=1, arguments='"a'), ToolCallFragment(index=1, arguments='": 1'))
    assert (piece.index, piece.function.arguments) == (1, '"a": 1')
    assert (piece.id, piece.type, piece.function.name) == (UNSET, UNSET, UNSET)


def test_calls_stay_apart() -> None:
    """The end of one call and the beginning of the next in one delta are two pieces, each with its index."""
    ended, begun = pieces(
        ToolCallFragment(index=0, arguments="}"),
        ToolCallFragment(index=1, name="get"),
        ToolCallFragment(index=1, arguments="{"),
    )
    assert (ended.index, ended.id, ended.function.arguments) == (0, UNSET, "}")
    assert (begun.index, begun.function.name, begun.function.arguments) == (1, "get", "{")
