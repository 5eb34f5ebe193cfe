"""What a translator reads of a request: the conversation block by block, the tools, and what is asked of the answer.

Unknown fields are ignored and nulls are absent, because clients send back what they were sent; a block or tool of an
unknown type is refused, because dropping it in silence would change the conversation. Values that only cross, such as
a tool's input or its schema, stay the bytes that came. Source: reference of the Messages API, section 3.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]


# Sources of images and documents.


class ImageData(msgspec.Struct, frozen=True, tag="base64"):
    """An image in the request itself."""

    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class PdfData(msgspec.Struct, frozen=True, tag="base64"):
    """A document in the request itself."""

    media_type: Literal["application/pdf"]
    data: str


class TextData(msgspec.Struct, frozen=True, tag="text"):
    """A document of plain text."""

    data: str


class Url(msgspec.Struct, frozen=True, tag="url"):
    """Something that whoever answers has to fetch."""

    url: str


class FileId(msgspec.Struct, frozen=True, tag="file"):
    """Something that was uploaded to the hosted API."""

    file_id: str


# Blocks.


class TextBlock(msgspec.Struct, frozen=True, tag="text"):
    """A text block; cache_control and citations mean nothing to a translated upstream and are passed over."""

    text: str


class ImageBlock(msgspec.Struct, frozen=True, tag="image"):
    """An image."""

    source: ImageData | Url | FileId


class ContentParts(msgspec.Struct, frozen=True, tag="content"):
    """A document made of blocks."""

    content: str | list[TextBlock | ImageBlock]


class DocumentBlock(msgspec.Struct, frozen=True, tag="document"):
    """A document."""

    source: PdfData | TextData | ContentParts | Url | FileId
    title: str | None = None
    context: str | None = None


class SearchResultBlock(msgspec.Struct, frozen=True, tag="search_result"):
    """Something that was found."""

    source: str
    title: str
    content: list[TextBlock]


class ToolReference(msgspec.Struct, frozen=True, tag="tool_reference"):
    """A tool that a search for tools has found: from then on it is part of the prompt."""

    tool_name: str


class ToolUseBlock(msgspec.Struct, frozen=True, tag="tool_use"):
    """A call that the model made. `input` is a JSON object as it came."""

    id: str
    name: str
    input: msgspec.Raw


ResultBlock = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReference


class ToolResultBlock(msgspec.Struct, frozen=True, tag="tool_result"):
    """What came of a call. Claude Code leaves `content` out where there is none."""

    tool_use_id: str
    content: str | list[ResultBlock] | None = None
    is_error: bool | None = None


class ThinkingBlock(msgspec.Struct, frozen=True, tag="thinking"):
    """What the model thought, with whose signature."""

    thinking: str
    signature: str = ""


class PassedOver(msgspec.Struct, frozen=True):
    """A block of the hosted API's own machinery: whatever it did is in the text around it, as far as it matters."""


class RedactedThinking(PassedOver, frozen=True, tag="redacted_thinking"):
    """Thinking that nobody but the hosted API can read."""


class ServerToolUse(PassedOver, frozen=True, tag="server_tool_use"):
    """A call that the hosted API made itself; what follows are the results of such calls."""


class WebSearchResult(PassedOver, frozen=True, tag="web_search_tool_result"): ...


class WebFetchResult(PassedOver, frozen=True, tag="web_fetch_tool_result"): ...


class CodeExecutionResult(PassedOver, frozen=True, tag="code_execution_tool_result"): ...


class BashResult(PassedOver, frozen=True, tag="bash_code_execution_tool_result"): ...


class TextEditorResult(PassedOver, frozen=True, tag="text_editor_code_execution_tool_result"): ...


class ToolSearchResult(PassedOver, frozen=True, tag="tool_search_tool_result"): ...


class ToolAddition(PassedOver, frozen=True, tag="tool_addition"): ...


class ToolRemoval(PassedOver, frozen=True, tag="tool_removal"): ...


Block = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinking
    | ServerToolUse
    | WebSearchResult
    | WebFetchResult
    | CodeExecutionResult
    | BashResult
    | TextEditorResult
    | ToolSearchResult
    | ToolAddition
    | ToolRemoval
)


class MessageParam(msgspec.Struct, frozen=True):
    """One turn, or a system message in the middle of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


# Tools.


class ToolParam(msgspec.Struct, frozen=True):
    """A tool: the client's own (no type, or "custom"), or one that the hosted API defines by its type."""

    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = msgspec.Raw()
    strict: bool | None = None
    defer_loading: bool | None = None


class ChooseAuto(msgspec.Struct, frozen=True, tag="auto"):
    """The model decides."""

    disable_parallel_tool_use: bool | None = None


class ChooseAny(msgspec.Struct, frozen=True, tag="any"):
    """The model has to call some tool."""

    disable_parallel_tool_use: bool | None = None


class ChooseTool(msgspec.Struct, frozen=True, tag="tool"):
    """The model has to call this tool."""

    name: str
    disable_parallel_tool_use: bool | None = None


class ChooseNone(msgspec.Struct, frozen=True, tag="none"):
    """The model may call none."""


ToolChoice = ChooseAuto | ChooseAny | ChooseTool | ChooseNone


# What is asked of the answer.


class ThinkingParam(msgspec.Struct, frozen=True):
    """Whether and how the model thinks first."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Count | None = None
    display: str | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """The answer's text has to be JSON of this schema."""

    type: Literal["json_schema"]
    schema: msgspec.Raw


class OutputConfig(msgspec.Struct, frozen=True):
    """How hard the model tries, and in which form it answers."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Metadata(msgspec.Struct, frozen=True):
    """Who the client's user is."""

    user_id: str | None = None


class Conversation(msgspec.Struct, frozen=True):
    """What a translator reads of a request. Those at the end are only looked at to be refused."""

    messages: list[MessageParam]
    system: str | list[TextBlock] | None = None
    tools: list[ToolParam] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingParam | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    metadata: Metadata | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Count | None = None
    mcp_servers: list[msgspec.Raw] | None = None
    compaction: msgspec.Raw | None = None
    thread: msgspec.Raw | None = None
