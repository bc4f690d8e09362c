"""The server itself: health, status, metrics, documents."""
