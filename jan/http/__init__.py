"""HTTP: connections in, requests read, callers identified, answers and streams written."""
