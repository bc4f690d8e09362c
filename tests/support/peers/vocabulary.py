"""A tokenizer that has the marks of all dialects: one token for each mark, and one for each other character."""

import re
from collections.abc import Iterable

MARKS = tuple(
    """
    <think> </think> <tool_call> </tool_call> <tool_response> </tool_response> <|im_start|> <|im_end|> <|endoftext|>
    <function= </function> <parameter= </parameter> <arg_key> </arg_key> <arg_value> </arg_value>
    <|observation|> <|user|> <|assistant|> <|system|> <|python_tag|> <|eot_id|> <|eom_id|> <|start_header_id|>
    <|end_header_id|> [TOOL_CALLS] [ARGS] [CALL_ID] [THINK] [/THINK] [INST] [/INST] <s> </s>
    <|channel|> <|message|> <|start|> <|end|> <|call|> <|return|> <|constrain|>
    <｜tool▁calls▁begin｜> <｜tool▁calls▁end｜> <｜tool▁call▁begin｜> <｜tool▁call▁end｜> <｜tool▁sep｜>
    <｜end▁of▁sentence｜> <｜begin▁of▁sentence｜> <｜User｜> <｜Assistant｜>
    <|tool_calls_section_begin|> <|tool_calls_section_end|> <|tool_call_begin|> <|tool_call_end|>
    <|tool_call_argument_begin|> <|tool_call_section_begin|> <|tool_call_section_end|> ◁think▷ ◁/think▷
    <|tool_call> <tool_call|> <|tool_response> <tool_response|> <|channel> <channel|> <|"|> <|turn> <turn|>
    <start_of_turn> <end_of_turn> <start_function_call> <end_function_call> <escape>
    <|START_THINKING|> <|END_THINKING|> <|START_ACTION|> <|END_ACTION|> <|START_RESPONSE|> <|END_RESPONSE|>
    <|START_TEXT|> <|END_TEXT|> <|END_OF_TURN_TOKEN|> <|tool_call|> <|/tool_call|> <|tool_calls|> <|tool|> <|/tool|>
    <seed:think> </seed:think> <seed:tool_call> </seed:tool_call> <seed:cot_budget_reflect>
    </seed:cot_budget_reflect> <minimax:tool_call> </minimax:tool_call> <|tool_call_start|> <|tool_call_end|>
    <response> </response> <mm:think> </mm:think> ]<]minimax[>[<tool_call> ]<]minimax[>[</tool_call>
    """.split()
)
_FIRST_CHARACTER = 1000
_PIECES = re.compile("|".join(map(re.escape, sorted(MARKS, key=len, reverse=True))) + "|.", re.DOTALL)


class Tokenizer:
    """The part of a tokenizer that parsers of answers ask for."""

    eos_token, bos_token = "<|endoftext|>", "<s>"
    eos_token_id, bos_token_id = MARKS.index(eos_token), MARKS.index(bos_token)
    all_special_tokens = list(MARKS)
    all_special_ids = list(range(len(MARKS)))
    is_fast = True
    response_template = response_schema = chat_template = None
    init_kwargs: dict[str, object] = {}

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each mark."""
        return {mark: at for at, mark in enumerate(MARKS)}

    get_added_vocab = get_vocab

    @property
    def vocab(self) -> dict[str, int]:
        """The id of each mark."""
        return self.get_vocab()

    def tokenize(self, text: str) -> list[str]:
        """Return the marks and characters of a text."""
        return _PIECES.findall(text)

    def encode(self, text: str, **options: object) -> list[int]:
        """Return the token ids of a text."""
        return [MARKS.index(p) if p in MARKS else _FIRST_CHARACTER + ord(p) for p in self.tokenize(text)]

    def decode(self, ids: int | Iterable[int], **options: object) -> str:
        """Return the text of token ids."""
        numbers = [ids] if isinstance(ids, int) else ids
        return "".join(MARKS[i] if i < len(MARKS) else chr(i - _FIRST_CHARACTER) for i in numbers)

    def convert_tokens_to_ids(self, tokens: str | list[str]) -> int | None | list[int]:
        """Return the id of one token, or the ids of several."""
        if isinstance(tokens, str):
            return self.get_vocab().get(tokens)
        return [self.encode(token)[0] for token in tokens]

    def convert_ids_to_tokens(self, ids: list[int], **options: object) -> list[str]:
        """Return the token of each id."""
        return [self.decode(i) for i in ids]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Return the text of tokens."""
        return "".join(tokens)
