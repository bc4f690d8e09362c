"""How an answer goes on whose server ended in the middle of it.

A half-made text is continued: the model gets it as the beginning of its own message. What can't be continued is
dropped and made anew, and what was complete before it is kept: a half-made call, reasoning, or text in an enforced
format. The model then begins at the latest point from which it can, and what it says of kept items is left out.
"""

import msgspec

from jan.background.story import Story
from jan.engine.base import ChatPrompt, GenerationRequest
from jan.generation.model_request import ModelRequest
from jan.schema.messages import AssistantMessage


def resumed(asked: ModelRequest, story: Story, *, continues: bool = True) -> ModelRequest | None:
    """Return the request for the rest of an answer; None if nothing of it is left to make.

    ``continues``: the model may be given a text to continue.
    """
    [sequence] = asked.sequences
    may_continue = continues and _is_free(sequence)
    if story.open_kind and not (story.open_kind == "t" and may_continue and not story.has_calls):
        story.drop_open()
    if may_continue and story.text.strip():
        story.skip(calls=len(story.whole_calls))
        return _continued(asked, sequence, story)
    kinds = [kind for kind, text in (("r", story.reasoning), ("t", story.text)) if text]
    story.skip(*kinds, calls=len(story.whole_calls))
    return asked


def _is_free(sequence: GenerationRequest) -> bool:
    """Return True if an answer may begin with a text that was made before."""
    return isinstance(sequence.prompt, ChatPrompt) and not sequence.output.enforced


def _continued(asked: ModelRequest, sequence: GenerationRequest, story: Story) -> ModelRequest | None:
    limit = sequence.max_tokens
    if limit is not None:
        limit -= story.record.tokens
        if limit <= 0:
            return None
    begun = AssistantMessage(content=story.text, reasoning_content=story.reasoning or None)
    prompt = sequence.prompt
    assert isinstance(prompt, ChatPrompt)  # or it can't be continued
    prompt = msgspec.structs.replace(
        prompt, messages=(*prompt.messages, begun), add_generation_prompt=False, continue_final_message=True
    )
    rest = msgspec.structs.replace(sequence, prompt=prompt, max_tokens=limit)
    return msgspec.structs.replace(asked, sequences=(rest,))
