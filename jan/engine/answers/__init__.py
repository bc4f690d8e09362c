"""The way out of a model: from token bytes to text, reasoning, tool calls and log probabilities."""
