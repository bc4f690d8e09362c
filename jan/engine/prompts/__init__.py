"""From messages to a prompt: chat templates, dialects of tool calls and reasoning, the bytes of tokens."""
