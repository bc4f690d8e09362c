"""Configuration files shipped with Jan Server; data only."""
