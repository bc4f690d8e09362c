"""Models on disk, and fetching models from the Hugging Face Hub."""
