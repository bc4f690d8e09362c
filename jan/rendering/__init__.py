"""Markdown as safe HTML, and files as text: made in child processes with limits of CPU time and memory."""
