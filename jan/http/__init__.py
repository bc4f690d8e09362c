"""HTTP: accepts connections, reads requests, identifies callers, writes answers and streams."""
