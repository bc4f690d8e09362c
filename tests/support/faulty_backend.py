"""A backend that hangs or raises where a test says, on a thread of the test's process or in another process.

Both sides speak through files of a folder, so that either can be anywhere.
"""

import pickle
import time
from pathlib import Path
from typing import Any

import msgspec

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import Backend, GenerationRequest, JobId, ModelInfo, OnProgress, Output
from jan.engine.isolation.engine_messages import BackendPlan

_LOOK_SECONDS = 0.005


class FaultyOptions(msgspec.Struct, frozen=True):
    """``folder``: where the faults are."""

    folder: str


class Fault:
    """Controls the backends of one engine from a test; each restart makes a new backend."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.plan = BackendPlan(
            kind="support.faulty_backend.FaultyBackend", file=None, options={"folder": str(folder)}
        )

    def make(self) -> Backend:
        """Make a backend in this process."""
        return FaultyBackend(FaultyOptions(str(self._folder)))

    def hang_in(self, where: str) -> None:
        """Have the next call of this kind hang, until the end of the test or ``release``."""
        (self._folder / "hanging").unlink(missing_ok=True)
        (self._folder / "released").unlink(missing_ok=True)
        (self._folder / f"hang-{where}").touch()

    def raise_in(self, where: str, error: BaseException) -> None:
        """Have the next call of this kind raise."""
        made = self._folder / "error"
        made.write_bytes(pickle.dumps(error))
        made.rename(self._folder / f"raise-{where}")

    def forgive(self) -> None:
        """Take back errors that were not raised."""
        for path in self._folder.glob("raise-*"):
            path.unlink()

    @property
    def hangs(self) -> bool:
        """True once a call hangs."""
        return (self._folder / "hanging").exists()

    def release(self) -> None:
        """Let the call that hangs go on."""
        (self._folder / "released").touch()

    @property
    def is_released(self) -> bool:
        """True once ``release`` was called."""
        return (self._folder / "released").exists()

    def count(self, what: str) -> int:
        """Count backends that were made, closed or reset."""
        path = self._folder / what
        return len(path.read_bytes()) if path.exists() else 0

    # --- the backend's side -------------------------------------------------------------------------

    def note(self, what: str) -> None:
        """Count one more of something."""
        with (self._folder / what).open("ab") as file:
            file.write(b".")

    def at(self, where: str) -> None:
        """Hang or raise, if that is wanted here."""
        if self._claims(f"hang-{where}"):
            (self._folder / "hanging").touch()
            while not self.is_released and self._folder.exists():
                time.sleep(_LOOK_SECONDS)
        if self._claims(f"raise-{where}"):
            raise pickle.loads((self._folder / "claimed").read_bytes())

    def _claims(self, name: str) -> bool:
        path = self._folder / name
        if not path.exists():
            return False
        path.rename(self._folder / "claimed")
        return True


class FaultyBackend(EchoBackend):
    """An echo backend that hangs or raises where a test says."""

    Options = FaultyOptions  # type: ignore[assignment]

    def __init__(self, options: FaultyOptions) -> None:
        super().__init__(EchoOptions(slots=2, repeat=3))
        self._fault = Fault(Path(options.folder))
        self._fault.note("made")

    def for_model(self) -> "FaultyBackend":
        return self

    def load(self, progress: OnProgress) -> ModelInfo:
        self._fault.at("load")
        return super().load(progress)

    def prepare(self, request: GenerationRequest) -> Any:
        self._fault.at("prepare")
        return super().prepare(request)

    def begin(self, job_id: JobId, job: Any) -> None:
        self._fault.at("begin")
        super().begin(job_id, job)

    def step(self) -> list[tuple[JobId, Output]]:
        self._fault.at("step")
        return super().step()

    def reset(self) -> None:
        self._fault.note("reset")
        super().reset()

    def close(self) -> None:
        self._fault.note("closed")
