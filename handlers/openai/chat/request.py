"""Turns a chat completion request into a request to the engine."""

import msgspec

from handlers.openai.chat.format import check_tools_length, format_of
from handlers.openai.chat.template_variables import documents_of, template_options
from handlers.openai.chat.tool_forms import ToolForms, tool_forms_of
from handlers.openai.sampling import common_of, limit_of, priority_of, samplings_of
from jan.engine.base import ChatPrompt, GenerationRequest
from jan.engine.formats import OutputFormat
from jan.errors import InvalidRequest
from jan.handler import ModelRequest
from jan.schema.chat import ChatCompletionRequest
from jan.schema.messages import AssistantMessage
from jan.schema.scopes import Identity


def model_request(body: ChatCompletionRequest, identity: Identity, tools: ToolForms | None = None) -> ModelRequest:
    """Make the request to the model. Raises InvalidRequest for parameters that contradict each other."""
    # Prompt and format are made once for all choices.
    first, choices = _generation(body, identity, tools or tool_forms_of(body)), body.n or 1
    sequences = [msgspec.structs.replace(first, sampling=one) for one in samplings_of(body, choices)]
    return ModelRequest(model=body.model, sequences=tuple(sequences), choices=choices)


def _generation(body: ChatCompletionRequest, identity: Identity, tools: ToolForms) -> GenerationRequest:
    if body.top_logprobs is not None and not body.logprobs:
        raise InvalidRequest("top_logprobs: Not allowed unless logprobs is true.", param="top_logprobs")
    output = _output(body, tools)
    return GenerationRequest(
        prompt=_prompt(body, output, tools),
        max_tokens=_limit(body),
        **common_of(body),
        inline_reasoning=body.separate_reasoning is False,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        output=output,
        priority=priority_of(body, identity),
        # An answer that outlives its client may be read as events.
        buffered=not body.stream and body.on_disconnect != "finish",
    )


def _limit(body: ChatCompletionRequest) -> int | None:
    """Return the most tokens of the answer. Raises InvalidRequest for 0: a chat's answer has a first token."""
    name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    limit = getattr(body, name)
    if limit == 0:
        raise InvalidRequest(f"{name}: Must be at least 1, or -1 for no limit.", code="invalid_value", param=name)
    return limit_of(limit)


def _output(body: ChatCompletionRequest, tools: ToolForms) -> OutputFormat:
    output = format_of(body)
    if tools.callable and (output.regex or output.grammar or output.choices):
        raise InvalidRequest(
            "tools: Not allowed with a regular expression or grammar; allowed: a JSON schema.", param="tools"
        )
    check_tools_length(tools.callable)
    return msgspec.structs.replace(
        output,
        callable_tools=tools.callable,
        must_call=tools.must_call,
        parallel_calls=tools.parallel,
        tool_paths=tools.paths,
    )


def _prompt(body: ChatCompletionRequest, output: OutputFormat, tools: ToolForms) -> ChatPrompt:
    """Make the prompt. Raises InvalidRequest if the last message can't be continued."""
    continues = bool(body.continue_final_message)
    if continues and (reason := _closed(body, output)):
        raise InvalidRequest(
            f"continue_final_message: {reason}", code="invalid_value", param="continue_final_message"
        )
    return ChatPrompt(
        messages=tuple(body.messages),
        tools=tools.shown,
        sent_tools=tuple(tool.sent for tool in tools.shown if tool.sent is not None),
        documents=documents_of(body),
        template_options=template_options(body),
        add_generation_prompt=body.add_generation_prompt is not False and not continues,
        continue_final_message=continues,
    )


def _closed(body: ChatCompletionRequest, output: OutputFormat) -> str:
    """Return the reason why the last message can't be continued; '' if it can."""
    if body.add_generation_prompt:
        return "Not allowed with add_generation_prompt."
    if body.conversation_id is not None:
        return "Not allowed with conversation_id, because a stored message never changes."
    if output.enforced:
        return "Not allowed with an output format or a required tool, which the message may already violate."
    last = body.messages[-1] if body.messages else None
    if not isinstance(last, AssistantMessage) or not last.content or last.tool_calls:
        return "The last message must be the assistant's, with content and without tool calls."
    return ""
