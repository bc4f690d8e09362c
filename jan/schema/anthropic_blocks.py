"""Blocks of content in requests to Anthropic's Messages API."""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from jan.schema.open_body import OpenStruct

CacheControl = Annotated[
    dict[str, Any],
    Meta(description="Prompts are cached anyway. With one of these, usage tells what was read from the cache."),
]


class TextBlock(OpenStruct, kw_only=True, tag_field="type", tag="text"):
    """A block of text."""

    text: str
    cache_control: CacheControl | None = None
    citations: Any = None


# Separate from TextBlock, because msgspec allows a tag only in a union.
class OnlyTextBlock(OpenStruct, kw_only=True):
    """Text where no other block is allowed."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None
    citations: Any = None


class ImageBlock(OpenStruct, kw_only=True, tag_field="type", tag="image"):
    """An image, for models with vision."""

    source: dict[str, Any]
    cache_control: CacheControl | None = None


class DocumentBlock(OpenStruct, kw_only=True, tag_field="type", tag="document"):
    """A document. Sources of the types text and content are read; others need a model that reads files."""

    source: dict[str, Any]
    title: str | None = None
    context: str | None = None
    citations: Any = None
    cache_control: CacheControl | None = None


class SearchResultBlock(OpenStruct, kw_only=True, tag_field="type", tag="search_result"):
    """A result of a search, with where it is from."""

    source: str
    title: str
    content: list[OnlyTextBlock]
    citations: Any = None
    cache_control: CacheControl | None = None


class ToolUseBlock(OpenStruct, kw_only=True, tag_field="type", tag="tool_use"):
    """A tool call by the assistant."""

    id: Annotated[str, Meta(min_length=1)]
    name: Annotated[str, Meta(min_length=1)]
    input: dict[str, Any]
    cache_control: CacheControl | None = None


class ToolReferenceBlock(OpenStruct, kw_only=True, tag_field="type", tag="tool_reference"):
    """A tool that a search for tools found. The model gets its name."""

    tool_name: str
    cache_control: CacheControl | None = None


ToolResultPart = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock


class ToolResultBlock(OpenStruct, kw_only=True, tag_field="type", tag="tool_result"):
    """The result of a tool call. With ``is_error``, the model is told that it failed."""

    tool_use_id: str
    content: str | list[ToolResultPart] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


class ThinkingBlock(OpenStruct, kw_only=True, tag_field="type", tag="thinking"):
    """Reasoning by the assistant, for chat templates that show it. The signature is not needed."""

    thinking: str
    signature: str = ""


class RedactedThinkingBlock(OpenStruct, kw_only=True, tag_field="type", tag="redacted_thinking"):
    """Reasoning that only Anthropic can read. The model does not get it, and `X-Jan-Ignored` names it."""

    data: str


class HostedBlock(OpenStruct, kw_only=True):
    """The base of blocks that tools of Anthropic's own servers made. The model does not get them, and
    `X-Jan-Ignored` names them: the text that followed from them is in the answer."""

    shown_as_sent: ClassVar[bool] = True  # so that what is in them is not named too

    cache_control: CacheControl | None = None


class ServerToolUseBlock(HostedBlock, kw_only=True, tag_field="type", tag="server_tool_use"):
    """A call of a tool that Anthropic runs."""


class WebSearchResultBlock(HostedBlock, kw_only=True, tag_field="type", tag="web_search_tool_result"):
    """Results of a search on the web."""


class WebPageBlock(HostedBlock, kw_only=True, tag_field="type", tag="web_fetch_tool_result"):
    """A page of the web."""


class CodeResultBlock(HostedBlock, kw_only=True, tag_field="type", tag="code_execution_tool_result"):
    """The output of code that ran."""


class BashResultBlock(HostedBlock, kw_only=True, tag_field="type", tag="bash_code_execution_tool_result"):
    """The output of commands that ran."""


class EditorResultBlock(HostedBlock, kw_only=True, tag_field="type", tag="text_editor_code_execution_tool_result"):
    """The result of an editor's command."""


class FoundToolsBlock(HostedBlock, kw_only=True, tag_field="type", tag="tool_search_tool_result"):
    """Tools that were found."""


class AdviceBlock(HostedBlock, kw_only=True, tag_field="type", tag="advisor_tool_result"):
    """The advice of another model."""


class McpToolUseBlock(HostedBlock, kw_only=True, tag_field="type", tag="mcp_tool_use"):
    """A call of a tool of an MCP server."""


class McpToolResultBlock(HostedBlock, kw_only=True, tag_field="type", tag="mcp_tool_result"):
    """The result of a tool of an MCP server."""


class McpToolListingBlock(HostedBlock, kw_only=True, tag_field="type", tag="mcp_tool_listing"):
    """The tools of an MCP server."""


class FallbackBlock(HostedBlock, kw_only=True, tag_field="type", tag="fallback"):
    """A note that another model answered."""


class CompactionBlock(OpenStruct, kw_only=True, tag_field="type", tag="compaction"):
    """A summary of what came before. The model gets it as text of the assistant."""

    content: Annotated[str, Meta(min_length=1)] | None = None
    encrypted_content: Any = None
    signature: Any = None
    tool_changes: Any = None
    cache_control: CacheControl | None = None


UserBlock = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolResultBlock
AssistantBlock = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | CompactionBlock
    | ServerToolUseBlock
    | WebSearchResultBlock
    | WebPageBlock
    | CodeResultBlock
    | BashResultBlock
    | EditorResultBlock
    | FoundToolsBlock
    | AdviceBlock
    | McpToolUseBlock
    | McpToolResultBlock
    | McpToolListingBlock
    | FallbackBlock
)
