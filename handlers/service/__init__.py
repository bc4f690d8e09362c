"""Endpoints about the server itself: health, status, metrics and documents."""
