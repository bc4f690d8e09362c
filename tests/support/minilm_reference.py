"""Write the vectors that sentence-transformers itself makes of some texts, for tests to compare with.

Run by hand, in an environment with sentence-transformers (6.2.0 was used) and the model's package::

    python tests/support/minilm_reference.py FOLDER_OF_THE_MODEL > tests/support/minilm_vectors.json
"""

import base64
import json
import sys

QUERIES = (
    "How do I reset my password?",
    "Which animal barks?",
    "capital of France",
    "cure for a headache",
    "fastest way to sort a list of numbers",
)
#: Of each query, the text at the same place answers it.
PASSAGES = (
    "To choose a new login secret, open the settings and click on 'Forgot it'.",
    "Dogs make loud noises when strangers come to the door.",
    "Paris is the seat of the French government.",
    "Aspirin relieves pain and brings down a fever.",
    "Quicksort takes n log n comparisons on average.",
    "The recipe asks for two eggs, flour and a pinch of salt.",
    "Rain is expected in the north until the evening.",
)
OTHERS = (
    "Hello, world!",
    "x",
    "ÜBER die Straße läuft eine Katze — Ωμέγα 猫が座る",
    "1234567890 kernel_panic() != NULL\n\ttabs\u00a0and spaces   ",
    "🙂 emoji and pneumonoultramicroscopicsilicovolcanoconiosis",
    "The sea was calm that day, and nobody spoke of the storm. " * 15,
)
TEXTS = QUERIES + PASSAGES + OTHERS


def main(folder: str) -> None:
    """Print the vector of each text as base64 of little-endian float32."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    vectors = {
        text: base64.b64encode(vector.astype("<f4").tobytes()).decode()
        for text, vector in zip(TEXTS, model.encode(list(TEXTS)), strict=True)
    }
    json.dump(vectors, sys.stdout, indent=0)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
