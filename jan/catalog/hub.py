"""Fetching models from the Hugging Face Hub, through its own library: resumed where an earlier attempt ended."""

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from jan.errors import ConfigurationError, InvalidRequest, NotFound, PermissionDenied, Unavailable

# The same weights in forms that no engine here reads, and what is no part of the model.
_USELESS = (
    "*.bin",
    "*.pth",
    "*.pt",
    "*.onnx",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "original/*",
    "onnx/*",
    "*.gguf.part*",
)
_WEIGHTS = ("*.safetensors", "*.gguf")


class RepoFile(msgspec.Struct, frozen=True):
    """A file of a repository; ``size`` in bytes."""

    name: str
    size: int


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What a repository holds at one commit."""

    repo: str
    commit: str
    files: tuple[RepoFile, ...]

    def choose(self, patterns: Sequence[str]) -> "Listing":
        """Only what matches one of the patterns; without any, what an engine needs.

        Raises NotFound if a pattern matches nothing, InvalidRequest if the repository has several GGUF files,
        of which one is to be named.
        """
        if patterns:
            return msgspec.structs.replace(self, files=tuple(self._matching(patterns)))
        useful = tuple(file for file in self.files if not _matches(file.name, _USELESS))
        if not any(_matches(file.name, _WEIGHTS) for file in useful):
            raise NotFound(
                f"{self.repo} has no .safetensors and no .gguf file; allowed: a model in one of these forms"
            )
        ggufs = [file for file in useful if file.name.endswith(".gguf")]
        if len(ggufs) > 1:
            sizes = "".join(f"\n  {file.name}  {in_gib(file.size)}" for file in ggufs)
            raise InvalidRequest(f"{self.repo} has several GGUF files; name the one you want:{sizes}")
        return msgspec.structs.replace(self, files=tuple(ggufs) or useful)

    def _matching(self, patterns: Sequence[str]) -> list[RepoFile]:
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(file.name, pattern) for file in self.files):
                raise NotFound(f"{self.repo} has no file '{pattern}'; there is: {self._names()}")
        return [file for file in self.files if _matches(file.name, patterns)]

    def _names(self) -> str:
        return ", ".join(file.name for file in self.files[:40]) or "nothing"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def in_gib(size: float) -> str:
    """A size in bytes, for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"


def list_repo(repo: str, revision: str | None) -> Listing:
    """What the Hub has under this name.

    Raises NotFound, PermissionDenied (it wants terms accepted or a token), Unavailable, or ConfigurationError if
    the library is not installed.
    """
    with _explained(repo):
        from huggingface_hub import HfApi

        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        files = tuple(RepoFile(file.rfilename, file.size or 0) for file in info.siblings or ())
        return Listing(repo=repo, commit=info.sha or "", files=files)


def download(listing: Listing, folder: Path) -> None:
    """Put the listing's files into the folder; what is there and complete stays, what was begun goes on.

    Raises as ``list_repo``, and Unavailable if the disk fills.
    """
    with _explained(listing.repo):
        from huggingface_hub import snapshot_download

        names = [_literal(file.name) for file in listing.files]
        snapshot_download(listing.repo, revision=listing.commit, local_dir=folder, allow_patterns=names)


def _literal(name: str) -> str:
    """A pattern that matches this name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """The library's errors in the house's words; the most special first."""
    try:
        from huggingface_hub import errors  # noqa: I001  # first, since its name is the one to install

        from httpx2 import HTTPError
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"fetching models needs the package '{error.name}'; install jan-server[pull]"
        ) from None
    try:
        yield
    except errors.GatedRepoError as error:
        raise PermissionDenied(
            f"{repo} is gated: accept its terms on the Hub's web page, then set HF_TOKEN to a token of yours"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise NotFound(
            f"the Hub has no model '{repo}', or it is private: check the name (owner/name), or set HF_TOKEN to a "
            "token that may read it"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise NotFound(f"{repo} has no such revision (a branch, a tag or a commit)") from error
    except errors.HFValidationError as error:
        raise InvalidRequest(f"'{repo}' is no name of a model on the Hub; allowed: owner/name") from error
    except (HTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Unavailable(
            f"{repo} could not be fetched: {reason}; the same command goes on where this ended"
        ) from error
