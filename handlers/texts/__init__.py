"""Texts for pages: Markdown as HTML, files as text."""
