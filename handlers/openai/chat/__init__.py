"""POST /chat/completions and the URLs below it: requests in, chunks out."""

from handlers.openai.chat.endpoint import ChatCompletions
from handlers.openai.chat.events import ChatCompletionEvents

__all__ = ["ChatCompletionEvents", "ChatCompletions"]
