"""People: users with their API keys, sessions and usage, and what keeps the store that holds them in order."""
