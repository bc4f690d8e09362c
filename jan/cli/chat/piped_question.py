"""The chat of a program: standard input is one question, and standard output gets the answer alone."""

import json
import sys
from collections.abc import Generator
from contextlib import closing
from typing import Any

from jan.cli.chat.answer_reader import AnswerPart
from jan.cli.chat.answer_screen import AnswerScreen, ReasoningView
from jan.cli.chat.chat_conversation import ChatConversation
from jan.cli.chat.chat_failures import ChatError
from jan.cli.terminal import on_terminal, say


def read_question() -> str:
    """Return all of standard input. Bytes that are no UTF-8 become replacement characters. Raises ChatError."""
    if on_terminal(sys.stdin):
        say("Type a question. Ctrl-D on a line of its own ends it.", err=True)
    read = b"" if sys.stdin is None else sys.stdin.buffer.read()
    question = read.decode(errors="replace").strip("\r\n")
    if not question.strip():
        raise ChatError(
            "There is no question on standard input.", "Pipe one into the command.", kind="no_question"
        )
    return question


def answer_question(conversation: ChatConversation, question: str, reasoning: ReasoningView) -> None:
    """Print the answer while it is made. Raises ChatError."""
    screen = AnswerScreen(reasoning)
    with closing(conversation.ask(question)) as parts:
        try:
            screen.show(parts)
        except BaseException:
            screen.end()
            raise


def answer_as_json(conversation: ChatConversation, question: str) -> None:
    """Print one JSON object: the answer, and what is known of it. Raises ChatError."""
    with closing(conversation.ask(question)) as parts:
        said = _collected(parts)
    said["conversation_id"] = conversation.id or None
    say(json.dumps(said))


def _collected(parts: Generator[AnswerPart, None, None]) -> dict[str, Any]:
    text = ""
    reasoning: list[str] = []
    said: dict[str, Any] = {"answer": "", "reasoning": None, "model": None, "finish_reason": None, "usage": None}
    for part in parts:
        text = part.added_to(text)
        reasoning.append(part.reasoning)
        for name in ("model", "finish_reason", "usage"):
            said[name] = getattr(part, name) or said[name]
    return {**said, "answer": text, "reasoning": "".join(reasoning) or None}
