"""Presets of a user: /user/presets and the URLs below it. Times are UTC."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.chat import AnswerLimit, ReasoningEffort
from jan.schema.conversations import ModelName
from jan.schema.paging import Cursor
from jan.schema.plain_text import NAME

PresetName = Annotated[str, Meta(min_length=1, max_length=100, pattern=NAME)]
SystemPrompt = Annotated[str, Meta(max_length=20_000)]
IsDefault = Annotated[bool, Meta(description="New conversations begin with it; at most one preset of a user is")]


class PresetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of requests to a model, with the bounds that they have there. What is left out is the model's own."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repeat_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    max_tokens: AnswerLimit | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    reasoning_effort: ReasoningEffort | None = None


class PresetListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that select presets."""

    limit: Annotated[int, Meta(ge=1, le=100, description="Maximum number of presets")] = 100
    cursor: Cursor | None = None
    default: Annotated[bool, Meta(description="true: only the default; false: only the others")] | None = None


class PresetCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new preset. No other one of the user has its name, in upper or lower case."""

    name: PresetName
    model: ModelName | None = None
    system_prompt: SystemPrompt | None = None
    options: PresetOptions | None = None
    default: IsDefault = False


class PresetUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields to change. Fields left out stay as they are. ``options`` are replaced as a whole; null empties a
    field."""

    name: PresetName | UnsetType = UNSET
    model: ModelName | UnsetType | None = UNSET
    system_prompt: SystemPrompt | UnsetType | None = UNSET
    options: PresetOptions | UnsetType | None = UNSET
    default: IsDefault | UnsetType = UNSET


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of conversations under a name: a model, a system prompt, and options of requests."""

    id: str
    object: Literal["preset"] = "preset"
    name: str
    model: str | None
    system_prompt: str
    options: PresetOptions
    default: bool
    created_at: datetime
    updated_at: datetime


class PresetList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a user's presets, in order of creation."""

    object: Literal["list"] = "list"
    data: list[Preset]
    has_more: bool
    next_cursor: str | None


class PresetDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The confirmation that a preset is gone."""

    id: str
    object: Literal["preset.deleted"] = "preset.deleted"
    deleted: Literal[True] = True
