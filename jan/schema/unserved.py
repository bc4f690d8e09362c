"""Parameters that vLLM, SGLang, llama-server, TabbyAPI or OpenAI know and this server does not serve, with the
reason.

Also the other names of parameters that it does serve. The docs' table of parameters is made of these.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jan.schema.open_body import Unserved

_SAMPLER = "No engine of this server has this sampler."
_DEBUG = "This server does not report it."
_ROUTING = "It belongs to a cluster of servers. This server runs a model in one process."
_START = "It is chosen when the model is loaded, in the configuration."
_MEDIA = "This server's models read text only."
_PROMPT = "The model's own chat template makes the prompt. Use /completions for a prompt of your own."
_TOKENIZER = "Prompts are tokenised in the way that the model was trained with."
_INTERNAL = "It belongs to the inside of another server."


def _rows(whose: str, reason: str, *names: str, **neutral: tuple[Any, ...]) -> dict[str, Unserved]:
    """Return entries with one reason. ``neutral``: by name, the values that are accepted beside null and empty."""
    return {
        name: Unserved(whose=whose, reason=reason, neutral=neutral.get(name, ())) for name in (*names, *neutral)
    }


_BOTH = MappingProxyType(
    {
        # Searching and sampling.
        **_rows("vLLM", "Beam search is not served. Use `n` with sampling.", use_beam_search=(False,)),
        **_rows(
            "vLLM", "It is for beam search, which is not served.", length_penalty=(1, 1.0), early_stopping=(False,)
        ),
        **_rows(
            "TabbyAPI", _SAMPLER, smoothing_factor=(0,), top_a=(0,), tfs=(1, 0), skew=(0,), repetition_decay=(0,)
        ),
        **_rows("llama-server", _SAMPLER, adaptive_decay=(0, 0.9), adaptive_target=(-1,)),
        **_rows("llama-server", "The order of the samplers is fixed.", "samplers", "sampler_seq"),
        **_rows("TabbyAPI", "The order of the samplers is fixed.", temperature_last=(False,)),
        **_rows("llama-server", "Samplers may leave a single token.", min_keep=(0, 1)),
        **_rows("llama-server", _START, backend_sampling=(False,), n_cache_reuse=(0,)),
        **_rows("TabbyAPI", "Classifier-free guidance is not served.", "negative_prompt", cfg_scale=(1, 0)),
        **_rows(
            "vLLM, SGLang", "Programs in a request are not run.", "logits_processors", "custom_logit_processor"
        ),
        **_rows("SGLang", "It is for programs in a request, which are not run.", "custom_params"),
        **_rows("vLLM", "It is for plugins of vLLM.", "vllm_xargs"),
        **_rows("vLLM, SGLang", "Answers are not watermarked.", "watermark", watermarking=(False,)),
        **_rows("vLLM", "Use dry_multiplier or the penalties instead.", "repetition_detection"),
        **_rows("TabbyAPI", "Use bad_words, which bans sequences of tokens.", "banned_strings"),
        **_rows("SGLang", "Use stop, or the format regex.", "stop_regex"),
        **_rows("TabbyAPI", _TOKENIZER, token_healing=(False,), add_bos_token=(True,)),
        **_rows("vLLM", _TOKENIZER, spaces_between_special_tokens=(True,)),
        # Where an answer ends.
        **_rows(
            "llama-server", "A time limit is not served. Disconnect to end an answer.", t_max_predict_ms=(-1, 0)
        ),
        **_rows("llama-server", "Lines are not indented by the server.", n_indent=(0,)),
        **_rows(
            "llama-server", "A prompt that is too long is refused. Use truncate_prompt_tokens.", n_keep=(0, -1)
        ),
        **_rows("llama-server", "An answer ends where the context ends.", n_discard=(0,)),
        **_rows("TabbyAPI", "An answer ends where the context ends.", generate_window=(0, 512)),
        # Reports.
        **_rows("llama-server", "Use logprobs.", n_probs=(0,), post_sampling_probs=(False,)),
        **_rows("llama-server", "Use return_token_ids.", return_tokens=(False,)),
        **_rows("llama-server", _DEBUG, verbose=(False,), timings_per_token=(False,), return_progress=(False,)),
        **_rows("llama-server", "All fields are returned.", "response_fields"),
        **_rows("llama-server", "The configuration says how often comments are sent.", "sse_ping_interval"),
        **_rows("vLLM", _DEBUG, "logprob_token_ids", return_token_offsets=(False,), return_prompt_text=(False,)),
        **_rows("vLLM", _DEBUG, routed_experts_prompt_start=(0,), return_mm_kwargs=(False,)),
        **_rows("vLLM", "Each step's tokens are sent at once.", stream_interval=(1,)),
        **_rows(
            "SGLang",
            _DEBUG,
            "custom_labels",
            "sampling_logprobs_mode",
            return_hidden_states=(False,),
            return_routed_experts=(False,),
            routed_experts_start_len=(0,),
            return_cached_tokens_details=(False,),
            return_spec_tokens_details=(False,),
            return_meta_info=(False,),
            return_sampling_mask=(False,),
            return_input_ids_in_sglext=(False,),
            return_output_ids_in_sglext=(False,),
            return_flat_raw_output_top_logprobs=(False,),
            return_flat_raw_top_logprobs_b64=(True, False),
        ),
        # Clusters, adapters, speculation.
        **_rows("vLLM", _ROUTING, "kv_transfer_params", "ec_transfer_params"),
        **_rows("SGLang", _ROUTING, "bootstrap_host", "bootstrap_port", "bootstrap_room", "data_parallel_rank"),
        **_rows("SGLang", _ROUTING, "routed_dp_rank", "disagg_prefill_dp_rank"),
        **_rows("SGLang", "Use cache_salt.", "extra_key"),
        **_rows("vLLM, SGLang", "Use conversation_id.", "session_id", "session_params"),
        **_rows("llama-server", "The server chooses the slot.", id_slot=(-1,)),
        **_rows("SGLang, llama-server", _START, "lora_path", "lora"),
        **_rows("TabbyAPI", _START, "speculative_ngram"),
        **_rows("llama-server", _START, "speculative.n_max", "speculative.n_min", "speculative.p_min"),
        # Media.
        **_rows("vLLM, SGLang", _MEDIA, "mm_processor_kwargs", "media_io_kwargs", "mm_payload"),
        **_rows("SGLang", _MEDIA, "images_config", "video_config", "max_dynamic_patch", "min_dynamic_patch"),
        **_rows("SGLang", _MEDIA, use_audio_in_video=(False,)),
        **_rows("llama-server", _MEDIA, "image_data", "multimodal_data"),
        # Formats and reasoning.
        **_rows("vLLM", "The server has one way to enforce formats.", "guided_decoding_backend"),
        **_rows("vLLM", "JSON is written without free white space.", "guided_whitespace_pattern"),
        **_rows("vLLM", "Use grammar.", "structural_tag"),
        **_rows("llama-server", "A format holds from the beginning.", "grammar_triggers", grammar_lazy=(False,)),
        **_rows("llama-server", _INTERNAL, "chat_format", "chat_parser", "grammar_type", "preserved_tokens"),
        **_rows("llama-server", _INTERNAL, "generation_prompt", parse_tool_calls=(True,)),
        **_rows("vLLM", "Reasoning has no limit of its own. Use max_tokens.", thinking_token_budget=(-1,)),
        **_rows(
            "llama-server",
            "Reasoning has no limit of its own. Use max_tokens.",
            "reasoning_budget_message",
            "reasoning_budget_start_tag",
            "reasoning_budget_end_tag",
            "reasoning_budget_end_tags",
            reasoning_control=(False,),
            reasoning_budget_tokens=(-1,),
            thinking_budget_tokens=(-1,),
        ),
    }
)

UNSERVED_IN_CHAT: Mapping[str, Unserved] = MappingProxyType(
    {
        **_BOTH,
        **_rows("vLLM", "The prompt is not repeated in a chat's answer.", echo=(False,)),
        **_rows("vLLM", "Use n.", best_of=(1,)),
        **_rows("vLLM, SGLang", _TOKENIZER, add_special_tokens=(False,)),
        **_rows("vLLM", _PROMPT, "chat_template"),
        **_rows("TabbyAPI", _PROMPT, "prompt_template"),
        **_rows("TabbyAPI", "Use continue_final_message.", "response_prefix"),
        **_rows("SGLang", "Use /completions for a prompt of tokens.", "input_ids"),
        **_rows("SGLang", "Use /completions for a special prompt.", "task"),
        **_rows("SGLang", "Use chat_template_kwargs.", "thinking"),
        **_rows("SGLang", "Reasoning is streamed as it is generated.", stream_reasoning=(True,)),
        **_rows(
            "llama-server",
            "Reasoning is in reasoning_content. Use include_reasoning or separate_reasoning.",
            reasoning_format=("auto", "deepseek"),
        ),
        **_rows("SGLang", "Use return_token_ids.", return_prompt_token_ids=(False,)),
        **_rows("TabbyAPI", "Use /completions.", "suffix"),
        **_rows("OpenAI, TabbyAPI", "Use chat_template_kwargs, if the template has it.", verbosity=("medium",)),
        **_rows("TabbyAPI", "Use reasoning_effort and enable_thinking.", "reasoning"),
        **_rows("OpenAI", _MEDIA, "audio", modalities=(["text"],)),
        **_rows("OpenAI", "The server does not search the web.", "web_search_options"),
    }
)

UNSERVED_IN_COMPLETIONS: Mapping[str, Unserved] = MappingProxyType(
    {
        **_BOTH,
        **_rows("vLLM", "Use a prompt of text or tokens.", "prompt_embeds"),
        **_rows("vLLM", _TOKENIZER, add_special_tokens=(True,)),
        **_rows("llama-server", "Texts have no messages.", continue_final_message=(False,)),
        **_rows("llama-server", "Texts have no reasoning apart.", reasoning_format=("auto", "none", "deepseek")),
    }
)

UNSERVED_IN_STREAM_OPTIONS: Mapping[str, Unserved] = MappingProxyType(
    _rows("OpenAI", "Chunks are not padded.", include_obfuscation=(False,))
)

UNSERVED_IN_STRUCTURED_OUTPUTS: Mapping[str, Unserved] = MappingProxyType(
    {
        **_rows("vLLM", "JSON is written without free white space.", "whitespace_pattern"),
        **_rows("vLLM", "Use grammar.", "structural_tag"),
        **_rows("vLLM", "Say it in the schema.", disable_additional_properties=(False, True)),
        **_rows("vLLM", "JSON is written without free white space.", disable_any_whitespace=(False, True)),
    }
)

#: Other names of served parameters.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "repetition_penalty": "repeat_penalty",
        "rep_pen": "repeat_penalty",
        "penalty_range": "repeat_last_n",
        "repetition_range": "repeat_last_n",
        "repetition_penalty_range": "repeat_last_n",
        "rep_pen_range": "repeat_last_n",
        "typical": "typical_p",
        "temp_exponent": "dynatemp_exponent",
        "dynatemp_low": "min_temp",
        "dynatemp_high": "max_temp",
        "mirostat_mode": "mirostat",
        "n_predict": "max_tokens",
        "max_length": "max_tokens",
        "min_length": "min_tokens",
        "n_cmpl": "n",
        "stop_sequence": "stop",
        "no_stop_trim": "include_stop_str_in_output",
        "ban_eos_token": "ignore_eos",
        "custom_token_bans": "banned_tokens",
        "allowed_tokens": "allowed_token_ids",
        "guidance_scale": "cfg_scale",
        "rid": "request_id",
        "regex_pattern": "regex",
        "ebnf": "grammar",
        "grammar_string": "grammar",
        "template_vars": "chat_template_kwargs",
    }
)

COMPLETION_ALIASES: Mapping[str, str] = MappingProxyType({**ALIASES, "max_completion_tokens": "max_tokens"})
