"""Chat templates of our own, in the forms of families of models: each with a rule that real templates have."""

# A line break in a template is a part of the prompt.
# ruff: noqa: E501

# ChatML without tools: any role, any order.
PLAIN = """\
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# Gemma 2: no system role, strict alternation from the user on, no tools.
NO_SYSTEM = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}
  {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
  {%- endif %}
  {{- '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' }}
  {{- m['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

# Mistral Nemo: alternation between calls, ids of nine letters or digits, the system text in the last question.
NINE = """\
{%- if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}
{%- else %}{% set rest = messages %}{% endif %}
{%- set ns = namespace(index=0) %}
{%- for m in rest %}
  {%- if not (m.role == 'tool' or m.tool_calls) %}
    {%- if (m['role'] == 'user') != (ns.index % 2 == 0) %}
      {{- raise_exception('After the optional system message, roles must alternate user/assistant') }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
  {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for m in rest %}
  {%- if m['role'] == 'user' %}
    {%- if tools is not none and loop.last %}{{ '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{% endif %}
    {{- '[INST]' + (system + '\\n\\n' if loop.last and system is defined else '') + m['content'] + '[/INST]' }}
  {%- elif m.tool_calls %}
    {{- '[TOOL_CALLS][' }}
    {%- for call in m.tool_calls %}
      {%- if call.id is not defined or call.id | length != 9 %}
        {{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
      {%- endif %}
      {{- '{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson }}
      {{- ', "id": "' + call.id + '"}' + (']' + eos_token if loop.last else ', ') }}
    {%- endfor %}
  {%- elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}
  {%- elif m['role'] == 'tool' %}
    {%- if m.tool_call_id is not defined or m.tool_call_id | length != 9 %}
      {{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
    {%- endif %}
    {{- '[TOOL_RESULTS]{"content": ' + m.content + ', "call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' }}
  {%- else %}{{ raise_exception('Only user and assistant roles are supported') }}
  {%- endif %}
{%- endfor %}"""

# GLM 4.5: tojson with ensure_ascii, arguments by key, reasoning of the latest turn, a switch for thinking.
GLM = """\
[gMASK]<sop>
{%- if tools %}<|system|>
# Tools
<tools>
{% for tool in tools %}{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}</tools>
<tool_call>{function-name}
<arg_key>{arg-key}</arg_key>
<arg_value>{arg-value}</arg_value>
</tool_call>{% endif %}
{%- set ns = namespace(last_user=-1) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last_user = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{%- if m.role == 'user' %}<|user|>
{{ m.content }}{{ '/nothink' if enable_thinking is defined and not enable_thinking else '' }}
{%- elif m.role == 'assistant' %}<|assistant|>
{%- if loop.index0 > ns.last_user and m.reasoning_content %}
<think>{{ m.reasoning_content.strip() }}</think>
{%- else %}
<think></think>
{%- endif %}
{%- if m.content.strip() %}
{{ m.content.strip() }}{% endif %}
{%- for call in m.tool_calls or [] %}
<tool_call>{{ call.function.name }}
{% for key, value in call.function.arguments.items() %}
<arg_key>{{ key }}</arg_key>
<arg_value>{{ value if value is string else value | tojson(ensure_ascii=False) }}</arg_value>
{% endfor %}</tool_call>
{%- endfor %}
{%- elif m.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}<|observation|>{% endif %}
<tool_response>
{{ m.content }}
</tool_response>
{%- elif m.role == 'system' %}<|system|>
{{ m.content }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{{ '\\n<think></think>' if enable_thinking is defined and not enable_thinking else '' }}
{%- endif %}"""

# DeepSeek R1: a call is shown only where the content is null, and its arguments are text.
DEEPSEEK = """\
{{- bos_token }}
{%- for m in messages %}
{%- if m['role'] == 'system' %}{{ m['content'] }}
{%- elif m['role'] == 'user' %}{{ '<|User|>' + m['content'] }}
{%- elif m['role'] == 'assistant' and m['content'] is none %}
{{- '<|Assistant|><｜tool▁calls▁begin｜>' }}
{%- for call in m['tool_calls'] %}
{{- '\\n' if not loop.first }}{{ '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call['function']['name'] }}
{{- '\\n```json\\n' + call['function']['arguments'] + '\\n```<｜tool▁call▁end｜>' }}
{%- endfor %}
{{- '<｜tool▁calls▁end｜>' + eos_token }}
{%- elif m['role'] == 'assistant' %}{{ '<|Assistant|>' + m['content'].split('</think>')[-1] + eos_token }}
{%- elif m['role'] == 'tool' %}{{ '<|tool output begin|>' + m['content'] + '<|tool output end|>' }}
{%- endif %}
{%- endfor %}
{%- if tools %}{{ '<|tools|>' + tools | tojson(indent=2) }}{% endif %}
{%- if add_generation_prompt %}{{ '<|Assistant|>' + ('<think>\\n' if thinking is defined and thinking else '') }}{% endif %}"""

# Kimi K2: a call is named by its id alone; separators and sorted keys in the tools.
KIMI = """\
{%- if tools %}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson(separators=(',', ':'), sort_keys=True) }}<|im_end|>{% endif %}
{%- for m in messages %}
{%- if m.role == 'user' %}<|im_user|>user<|im_middle|>{{ m.content }}<|im_end|>
{%- elif m.role == 'system' %}<|im_system|>system<|im_middle|>{{ m.content }}<|im_end|>
{%- elif m.role == 'assistant' %}<|im_assistant|>assistant<|im_middle|>{{ m.content }}
{%- if m.tool_calls %}<|tool_calls_section_begin|>{% endif %}
{%- for call in m.tool_calls or [] %}<|tool_call_begin|>{{ call['id'] }}<|tool_call_argument_begin|>
{%- if call['function']['arguments'] is string %}{{ call['function']['arguments'] }}{% else %}{{ call['function']['arguments'] | tojson }}{% endif %}<|tool_call_end|>
{%- endfor %}{% if m.tool_calls %}<|tool_calls_section_end|>{% endif %}<|im_end|>
{%- elif m.role == 'tool' %}<|im_system|>tool<|im_middle|>## Return of {{ m.tool_call_id }}
{{ m.content }}<|im_end|>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}"""

# MiniMax: the name of the person who speaks, reasoning of all turns, loop controls.
MINIMAX = """\
{%- for m in messages %}
{%- if m.role == 'root' %}{% continue %}{% endif %}
{{- ']~b]' + ('ai' if m.role == 'assistant' else m.role) + (' name=' + m.name if m.name else '') + '\\n' }}
{%- if m.role == 'assistant' and m.reasoning_content %}{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}
{{- m.content if m.content is string else m.content | map(attribute='text') | join('\\n') }}
{%- for call in m.tool_calls or [] %}
<minimax:tool_call>
<invoke name="{{ call.function.name }}">
{% for key, value in call.function.arguments | items %}<parameter name="{{ key }}">{{ value | tojson(ensure_ascii=False) if value is not string else value }}</parameter>
{% endfor %}</invoke>
</minimax:tool_call>
{%- endfor %}
{{- '[e~[\\n' }}
{%- endfor %}
{%- if tools %}{% for tool in tools %}<tool>{{ tool.function | tojson(ensure_ascii=False) }}</tool>
{% endfor %}{% endif %}
{%- if add_generation_prompt %}{{ ']~b]ai\\n<think>\\n' }}{% endif %}"""

# Qwen3-Coder: arguments are read as a mapping, so that a text is refused.
XML = """\
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' + (m.content or '') }}
{%- for call in m.tool_calls or [] %}
{{- '\\n<tool_call>\\n<function=' + call.function.name + '>\\n' }}
{%- for key, value in call.function.arguments | items %}{{ '<parameter=' + key + '>\\n' ~ value ~ '\\n</parameter>\\n' }}{% endfor %}
{{- '</function>\\n</tool_call>' }}
{%- endfor %}{{ '<|im_end|>\\n' }}
{%- endfor %}
{%- if tools %}{% for tool in tools %}{{ '<function><name>' ~ tool.function.name ~ '</name>' }}
{%- for key in tool.function if key not in ['name', 'parameters'] %}{{ '<' ~ key ~ '>' ~ tool.function[key] ~ '</' ~ key ~ '>' }}{% endfor %}
{{- tool.function.parameters | tojson ~ '</function>\\n' }}{% endfor %}{% endif %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# SmolLM3: the tokens of an answer are marked for training. The clock and documents too.
GENERATION = """\
{{- 'Today: ' + strftime_now('%d %B %Y') + '\\n' }}
{%- for d in documents or [] %}{{ '<doc>' + d.title + ': ' + d.text + '</doc>\\n' }}{% endfor %}
{%- for m in messages %}
{%- if m.role == 'assistant' %}{% generation %}{{ '<|im_start|>assistant\\n' + m.content + '<|im_end|>\\n' }}{% endgeneration %}
{%- else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# Hermes as a second template, named tool_use, beside one without tools.
TOOL_USE = """\
{%- if tools %}{{ '<|im_start|>system\\n<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '</tools><|im_end|>\\n' }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}{{ '<|im_start|>tool\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + m.role + '\\n' + m.content }}
{%- for call in m.tool_calls or [] %}{{ '\\n<tool_call>\\n' + call.function | tojson + '\\n</tool_call>' }}{% endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# Falcon H1: it lists tools and says how they are called, and shows no calls of the past.
LISTED = """\
{%- if tools %}{{ '<|im_start|>system\\nCall with <tool_call>\\n{"name": ..., "arguments": ...}\\n</tool_call>:' }}
{%- for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '<|im_end|>\\n' }}{% endif %}
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# Content as parts alone.
PARTS = """\
{%- for m in messages %}{{ m.role + ': ' }}{% for part in m.content %}{{ part.text }}{% endfor %}{{ '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"""

# Llama 3.1: one call in a message, and a developer's words as a role of their own.
ONE_CALL = """\
{{- bos_token }}
{%- if tools %}{% for tool in tools %}{{ tool | tojson(indent=4) + '\\n' }}{% endfor %}{{ '{"name": function name, "parameters": dictionary}' }}{% endif %}
{%- for m in messages %}
{%- if m.tool_calls is defined and m.tool_calls %}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + m.tool_calls[0].function.name + '", "parameters": ' }}
{{- m.tool_calls[0].function.arguments | tojson + '}<|eot_id|>' }}
{%- elif m.role == 'tool' %}{{ '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + m.content | tojson + '<|eot_id|>' }}
{%- elif m.role == 'developer' %}{{ '<|start_header_id|>developer<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' }}
{%- else %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

OWN = {
    name.lower(): source for name, source in list(globals().items()) if name.isupper() and isinstance(source, str)
}

# Gemma 4 and gpt-oss: tools as signatures, for which schemas must be well-formed. Else it is TOOL_USE, so not in OWN.
SIGNATURES = TOOL_USE.replace(
    "{{ tool | tojson }}",
    """{%- set schema = tool.function.parameters %}{{ tool.function.name }}(
{%- for name, one in schema.properties.items() %}{{ name + ': ' + (one.description or one.type or 'any') }}
{%- for value in one.enum or [] %}{{ '|' + value }}{% endfor %}{{ '' if name in schema.required or [] else '?' }}, {% endfor %})""",
)
