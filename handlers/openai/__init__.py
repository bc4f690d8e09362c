"""What OpenAI's API serves: chat and text completions, models."""
