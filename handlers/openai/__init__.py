"""The endpoints of OpenAI's API: chat and text completions, and models."""
