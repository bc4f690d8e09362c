"""The front of both ExLlama engines: what can be known without a library or a GPU."""

import msgspec

from jan.engine.backends.exllama.common.driver import gpu_count
from jan.engine.backends.exllama.common.folder import FolderFormats, ModelFolder
from jan.engine.backends.exllama.common.options import ExLlamaOptions
from jan.engine.backends.exllama.common.size import ModelSize
from jan.engine.model_trials.model_trial import ModelTrial
from jan.errors import ConfigurationError


class ExLlamaFront:
    """The checked options of a model folder, and its files.

    ``formats``: the folders that the library reads. ``reserve``: cache tokens that a job takes in addition to its
    own tokens and the drafted ones.
    """

    name = ""
    isolation = "process"
    formats: FolderFormats
    reserve = 0

    def __init__(self, options: ExLlamaOptions) -> None:
        self._options = options
        self._folder = ModelFolder(options.model, self.formats)
        self._draft = ModelFolder(options.draft_model, self.formats) if options.draft_model else None
        self._size = ModelSize(options, self._folder, self._draft, self.reserve)

    def check_machine(self) -> None:
        """Raise ConfigurationError if this machine shows no GPU, before a process is started that needs one."""
        if not gpu_count():
            raise ConfigurationError(
                f"The {self.name} engine needs an NVIDIA GPU, and this machine shows none. "
                "The llamacpp engine runs without one."
            )

    def trial(self) -> ModelTrial:
        """Return the trial of the model's folder."""
        return ModelTrial(
            call="jan.engine.backends.exllama.common.read_folder:read_first",
            arguments={
                "model": str(self._folder.path),
                **msgspec.structs.asdict(self.formats),
                "tool_format": self._options.tool_format,
                "reasoning": self._options.reasoning,
            },
            files=(str(self._folder.path), *([self._options.draft_model] if self._draft else [])),
            named=f"Model folder {self._folder.path}",
        )
