"""Events of background responses: a function of the stored message, however often an answer was interrupted."""

import random
from typing import Any

import msgspec
import pytest

from handlers.openai.responses.response_translator import ResponseTranslator
from handlers.openai.responses.shown_response import asked_response, shown_response
from handlers.openai.responses.told_response import ToldResponse
from jan.auth.encrypted_texts import EncryptedTexts
from jan.background.resumption import resumed
from jan.background.story import Story, StoryRecord, arguments_of, with_story
from jan.engine.base import ChatPrompt, Delta, GenerationRequest, ToolCallFragment
from jan.engine.formats import OutputFormat
from jan.generation.model_request import ModelRequest
from jan.schema.messages import UserMessage
from jan.schema.stored_items import StoredText
from jan.storage.records import MessageRecord

TOOLS = [{"type": "function", "name": "look", "parameters": {}}, {"type": "custom", "name": "run"}]
ARGUMENTS = {"look": '{"path": "/tmp/\N{SNOWMAN}"}', "run": '{"input": "ls -l"}'}
TEXTS = EncryptedTexts(lambda _purpose: [bytes(32)]).of("user_1")
QUESTION = ChatPrompt(messages=(UserMessage(content="?"),))


def begun() -> MessageRecord:
    """The message of an answer that waits."""
    request = {
        "id": "",
        "created_at": 1,
        "status": "queued",
        "model": "m",
        "background": True,
        "tools": TOOLS,
        "reasoning": {},
        "text": {},
    }
    message = MessageRecord(
        conversation_id="conv_1",
        role="assistant",
        items=(StoredText(text=""),),
        status="streaming",
        response={"request": request},
    )
    return with_story(message, StoryRecord())


def story_over(message: MessageRecord) -> Story:
    """Go on with a message, as a process does that has claimed it."""
    translator = ResponseTranslator(asked_response(message), custom=frozenset({"run"}), with_logprobs=False)
    story = Story(message, translator.stored_call)
    story.note(begun=True)
    return story


def question(*, limit: int | None = None, output: OutputFormat | None = None) -> ModelRequest:
    """A request for an answer in the background."""
    sequence = GenerationRequest(prompt=QUESTION, max_tokens=limit, output=output or OutputFormat())
    return ModelRequest(model="m", sequences=(sequence,))


def deltas_of(dice: random.Random, calls: int) -> list[Delta]:
    """An answer that a model might make: reasoning, text, calls, perhaps more text; in small pieces."""
    made = [Delta(reasoning=f"r{number} ", tokens=1) for number in range(dice.randrange(4))]
    made += [Delta(text=f"t{number} ", tokens=1) for number in range(dice.randrange(4))]
    for index in range(calls):
        name = dice.choice(list(ARGUMENTS))
        made.append(Delta(tool_calls=(ToolCallFragment(index=index, name=name),), tokens=1))
        whole = ARGUMENTS[name]
        cuts = sorted(dice.sample(range(1, len(whole)), 2))
        for piece in (whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]):
            made.append(Delta(tool_calls=(ToolCallFragment(index=index, arguments=piece),), tokens=1))
    if dice.random() < 0.3:
        made.append(Delta(text="and so on", tokens=1))
    return made


class Follower:
    """Somebody who reads the events from the beginning, whenever something was stored."""

    def __init__(self, message: MessageRecord) -> None:
        self._told = ToldResponse(asked_response(message))
        self.read: list[bytes] = []

    def see(self, message: MessageRecord) -> None:
        events = self._told.news(message)
        if message.status != "streaming":
            events += self._told.end(message, shown_response(message, TEXTS))
        self.read += map(msgspec.json.encode, events)


def stored_anew(message: MessageRecord) -> MessageRecord:
    return msgspec.json.decode(msgspec.json.encode(message), type=MessageRecord)


@pytest.mark.parametrize("seed", range(60))
def test_events_depend_on_the_stored_message_alone(seed: int) -> None:
    """An answer is stored in any groups, and interrupted anywhere. Who follows it all the time, and who comes at
    any later time, reads the same bytes."""
    dice = random.Random(seed)
    message = begun()
    first = Follower(message)
    followers = [first]
    for attempt in range(3):
        story = story_over(stored_anew(message))
        if attempt:
            resumed(question(), story, continues=dice.random() < 0.7)
        for delta in deltas_of(dice, calls=dice.randrange(3)):
            story.add(delta)
            if dice.random() < 0.4:
                message = story.message()
                followers.append(Follower(message))
                for follower in followers:
                    follower.see(stored_anew(message))
            if attempt < 2 and dice.random() < 0.1:
                break  # what was not stored is lost
    message = story.message("complete", "stop")
    last = Follower(message)
    last.see(message)
    for follower in followers:
        follower.see(stored_anew(message))
        assert follower.read == last.read
    events = [msgspec.json.decode(event) for event in last.read]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert output_of(events) == events[-1]["response"]["output"]


def output_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the items together as a client does: those that were done, in order."""
    texts: dict[int, str] = {}
    done = []
    for event in events:
        at = event.get("output_index")
        if event["type"] == "response.output_item.added":
            texts[at] = ""
        elif event["type"] == "response.output_item.dropped":
            del texts[at]
        elif "delta" in event:
            texts[at] += event["delta"]
        elif event["type"] == "response.output_item.done":
            item = event["item"]
            whole = item.get("arguments", item.get("input"))
            assert texts[at] == (item["content"][0]["text"] if whole is None else whole)
            done.append(item)
    return done


def interrupted(*deltas: Delta) -> Story:
    """Go on with an answer that was interrupted after these deltas."""
    story = story_over(begun())
    for delta in deltas:
        story.add(delta)
    return story_over(stored_anew(story.message()))


THOUGHT, TEXT = Delta(reasoning="hm", tokens=1), Delta(text="so ", tokens=1)
CALL = Delta(tool_calls=(ToolCallFragment(index=0, name="look", arguments=ARGUMENTS["look"]),), tokens=1)
HALF = Delta(tool_calls=(ToolCallFragment(index=1, name="look", arguments='{"pa'),), tokens=1)


def continued(asked: ModelRequest | None) -> str:
    """The text that a request continues; '' if it begins anew."""
    assert asked is not None
    prompt = asked.sequences[0].prompt
    assert isinstance(prompt, ChatPrompt)
    return str(prompt.messages[-1].content) if prompt.continue_final_message else ""


def test_a_text_goes_on() -> None:
    story = interrupted(THOUGHT, TEXT)
    asked = resumed(question(limit=10), story)
    assert continued(asked) == "so "
    assert asked is not None
    assert asked.sequences[0].max_tokens == 8
    story.add(Delta(text="it is", tokens=2))
    assert (story.text, story.reasoning, story.record.dropped) == ("so it is", "hm", ())


def test_nothing_is_left_of_an_answer_that_has_its_length() -> None:
    assert resumed(question(limit=2), interrupted(THOUGHT, TEXT)) is None


def test_reasoning_is_made_anew() -> None:
    story = interrupted(THOUGHT)
    assert continued(resumed(question(), story)) == ""
    story.add(Delta(reasoning="well", tokens=1))
    assert (story.reasoning, [item.text for item in story.record.dropped]) == ("well", ["hm"])


def test_a_text_in_an_enforced_format_is_made_anew() -> None:
    """The reasoning before it stays, and what the model reasons again is left out."""
    story = interrupted(THOUGHT, TEXT)
    assert continued(resumed(question(output=OutputFormat(regex="{}")), story)) == ""
    for delta in (Delta(reasoning="again", tokens=1), Delta(text="{}", tokens=1)):
        story.add(delta)
    assert (story.reasoning, story.text, [item.text for item in story.record.dropped]) == ("hm", "{}", ["so "])


def test_a_half_made_call_is_made_anew() -> None:
    """The text and the call before it stay. The model goes on after the text, and its first call is known."""
    story = interrupted(TEXT, CALL, HALF)
    assert continued(resumed(question(), story)) == "so "
    for index in range(2):
        fragment = ToolCallFragment(index=index, name="look", arguments=f'{{"path": "{index}"}}')
        story.add(Delta(tool_calls=(fragment,), tokens=1))
    message = story.message("complete", "tool_calls")
    paths = [arguments_of(call) for call in message.calls]
    assert paths == [ARGUMENTS["look"], '{"path": "1"}']
    assert len({call.id for call in message.calls}) == 2


def test_tokens_of_all_attempts_are_counted() -> None:
    story = interrupted(TEXT, CALL)
    resumed(question(), story)
    story.add(Delta(text="x", tokens=3))
    assert story.record.tokens == 5
