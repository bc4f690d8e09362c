"""Authentication of callers, and what they are allowed to do."""
