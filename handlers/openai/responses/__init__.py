"""OpenAI's Responses API: requests in, items and events out."""
