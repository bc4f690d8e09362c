"""Models on disk and on the Hugging Face Hub: what there is, and how to fetch it."""
