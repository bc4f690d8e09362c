"""The web page: its shell at /, and its files."""
