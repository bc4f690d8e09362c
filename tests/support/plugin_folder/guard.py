"""A hook that refuses a word, and changes another."""

from msgspec.structs import replace

from jan.handler import GeneratedAnswer, HookContext, ModelRequest, PermissionDenied, TextPrompt


class Guard:
    """Refuses the word secret, and says please."""

    def before(self, context: HookContext, request: ModelRequest) -> ModelRequest | None:
        """Refuse some requests, and change those whose prompt is a text."""
        sequence = request.sequences[0]
        if "secret" in str(sequence.prompt):
            raise PermissionDenied("Not a word of it.", code="guarded")
        if not isinstance(sequence.prompt, TextPrompt):
            return None
        polite = replace(sequence, prompt=TextPrompt(f"please {sequence.prompt.text}"))
        return replace(request, sequences=(polite,))

    async def after(self, context: HookContext, answer: GeneratedAnswer) -> None:
        """Fail over an answer, which changes nothing for its client."""
        if "stumble" in answer.choices[0].text:
            raise LookupError(f"stumbled in {context.api}")
