"""Coverage-guided fuzzing of what reads input from elsewhere: ``python -m fuzz``. See docs/contributing.md."""
