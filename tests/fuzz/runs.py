"""One run of a fuzzer: tries each input, times it, and keeps one finding of each kind."""

import hashlib
import time
import traceback
from pathlib import Path
from types import ModuleType

#: Each is a module with ``check``, ``seeds`` and ``words``.
TARGETS = (
    "bodies",
    "configurations",
    "cursors",
    "dialect_readers",
    "event_streams",
    "foreign_files",
    "model_headers",
    "request_heads",
    "sign_ins",
)
_CORPUS = Path(__file__).parent / "corpus"
# Seconds of CPU time that one input may take: it has 4 kB at most. Counting lines makes all three times as slow.
_MOST_SECONDS = 0.05 * 3
_LONGEST_INPUT = 4096
# A slow input is tried again: another process may have taken the caches away.
_TRIES = 4


def inputs_of(name: str) -> list[bytes]:
    """Return the kept inputs of a target, in the order of their names."""
    return [file.read_bytes() for file in sorted((_CORPUS / name).iterdir()) if file.is_file()]


class TooSlow(AssertionError):
    """One input took too long."""


class FuzzRun:
    """Runs a target on inputs, and writes what it finds to a folder."""

    def __init__(self, target: ModuleType, findings: Path) -> None:
        self._target = target
        self._folder = findings
        self._known: set[str] = set()
        self._slowest = _MOST_SECONDS
        findings.mkdir(parents=True, exist_ok=True)

    def arguments(self, minutes: float) -> list[str]:
        """Return the options of libFuzzer, and a folder with the inputs to begin with."""
        name = self._target.__name__.rpartition(".")[2]
        corpus, words = self._folder / "corpus", self._folder / "words.txt"
        corpus.mkdir(exist_ok=True)
        for seed in [*self._target.seeds(), *inputs_of(name)]:
            (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in dict.fromkeys(self._target.words()) if word))
        return [
            f"-max_total_time={round(minutes * 60)}",
            f"-max_len={_LONGEST_INPUT}",
            "-len_control=20",
            f"-dict={words}",
            f"-artifact_prefix={self._folder}/",
            "-print_final_stats=1",
            "-timeout=20",
            "-rss_limit_mb=3000",
            str(corpus),
        ]

    def one(self, data: bytes) -> None:
        """Try one input."""
        try:
            begun = time.process_time()
            self._target.check(data)
            if time.process_time() - begun > self._slowest:
                self._time(data)
        except Exception as error:  # noqa: BLE001  # any is a finding
            self._keep(data, error)

    def mutate(self, data: bytes, most: int, seed: int) -> bytes:
        """Change an input: in every other case by the target's own way."""
        import atheris

        changed: bytes | None = self._target.mutate(data, seed) if seed % 2 else None
        return atheris.Mutate(data, most) if changed is None or len(changed) > most else changed

    def _time(self, data: bytes) -> None:
        taken = []
        for _ in range(_TRIES):
            begun = time.process_time()
            self._target.check(data)
            taken.append(time.process_time() - begun)
        if min(taken) > self._slowest:
            self._slowest = 2 * min(taken)
            raise TooSlow(f"{min(taken):.3f} s for {len(data)} bytes")

    def _keep(self, data: bytes, error: Exception) -> None:
        """Write a finding, unless there is one from the same line."""
        frames = traceback.extract_tb(error.__traceback__)
        kind = f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}"
        if kind in self._known and not isinstance(error, TooSlow):
            return
        self._known.add(kind)
        name = f"finding-{len(self._known):02}-{hashlib.sha256(data).hexdigest()[:8]}"
        (self._folder / name).write_bytes(data)
        written = "".join(traceback.format_exception(error))
        (self._folder / f"{name}.txt").write_text(f"{data!r}\n{written}", errors="replace")
        print(f"FINDING {kind}: {error!s:.300}", flush=True)


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)
