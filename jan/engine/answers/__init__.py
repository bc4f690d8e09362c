"""From a model's tokens to an answer: text, reasoning, tool calls and log probabilities."""
