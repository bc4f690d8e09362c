"""The way in to a model: chat templates, how models write calls and reasoning, the bytes of tokens."""
