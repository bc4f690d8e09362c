"""Fetch models from the Hugging Face Hub with its own library, which resumes an interrupted download."""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from jan.engine.model_trials.pulled_files import PullRecord, file_as_it_is, read_record, write_record
from jan.errors import ConfigurationError, InvalidRequest, NotFound, PermissionDenied, Unavailable
from jan.settings.secret_files import SecretEnvironment

# The same weights in formats that no engine here reads, and files that are not part of a model.
_UNUSED = (
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
# How many files of a repository a message names.
_NAMED = 40
_WEIGHTS = ("*.safetensors", "*.gguf")


class RepoFile(msgspec.Struct, frozen=True):
    """A file of a repository. ``size``: bytes. ``sha256``: as the Hub says; '' if it does not."""

    name: str
    size: int
    sha256: str = ""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a repository at one commit."""

    repo: str
    commit: str
    files: tuple[RepoFile, ...]

    def choose(self, patterns: Sequence[str]) -> "Listing":
        """Return a listing of the files that match a pattern; without patterns, of those that an engine needs.

        Raises:
            NotFound: if a pattern matches nothing, or the repository has no weights that an engine reads.
            InvalidRequest: if there are several GGUF files and no pattern chooses one.
        """
        if patterns:
            return msgspec.structs.replace(self, files=tuple(self._matching(patterns)))
        used = tuple(file for file in self.files if not _matches(file.name, _UNUSED))
        if not any(_matches(file.name, _WEIGHTS) for file in used):
            raise NotFound(
                f"Repository {self.repo} has no .safetensors and no .gguf file; allowed: a model in one of them."
            )
        ggufs = [file for file in used if file.name.endswith(".gguf")]
        if len(ggufs) > 1:
            sizes = "".join(f"\n  {file.name}  {in_gib(file.size)}" for file in ggufs)
            raise InvalidRequest(
                f"Repository {self.repo} has several GGUF files:{sizes}\nName the one that you want."
            )
        return msgspec.structs.replace(self, files=tuple(ggufs) or used)

    def _matching(self, patterns: Sequence[str]) -> list[RepoFile]:
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(file.name, pattern) for file in self.files):
                raise NotFound(f"Repository {self.repo} has no file '{pattern}'; available: {self._names()}.")
        return [file for file in self.files if _matches(file.name, patterns)]

    def _names(self) -> str:
        names = [file.name for file in self.files]
        more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
        return ", ".join(names[:_NAMED] + more) or "none"

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def in_gib(size: float) -> str:
    """Return a size in bytes as text for people: 4.1 GiB, 87.0 MiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"


def list_repo(repo: str, revision: str | None) -> Listing:
    """Return the files that the Hub has under this name.

    Args:
        repo: owner/name.
        revision: a branch, a tag or a commit; None: the main branch.

    Raises:
        NotFound: if there is no such repository or revision.
        PermissionDenied: if the Hub wants accepted terms or a token.
        InvalidRequest: if ``repo`` is not a name of a repository.
        Unavailable: if the Hub can't be reached.
        ConfigurationError: if the library is not installed.
    """
    with _explained(repo):
        from huggingface_hub import HfApi

        info = HfApi(token=_token()).model_info(repo, revision=revision, files_metadata=True)
        files = tuple(
            RepoFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else "")
            for file in info.siblings or ()
        )
        return Listing(repo=repo, commit=info.sha or "", files=files)


def download(listing: Listing, folder: Path) -> None:
    """Download the listing's files into the folder. Complete files are kept, and partial ones are resumed.

    Raises the errors of ``list_repo``, and Unavailable if the disk is full.
    """
    with _explained(listing.repo):
        from huggingface_hub import snapshot_download

        names = [_literal(file.name) for file in listing.files]
        # By the commit that the branch or tag had when its files were listed: all files are of one revision.
        snapshot_download(
            listing.repo, revision=listing.commit, local_dir=folder, allow_patterns=names, token=_token()
        )


def record_pulled(listing: Listing, folder: Path) -> None:
    """Write the SHA-256 of the downloaded files beside them, for the check at each load.

    Raises Unavailable for a file that is not the one that the Hub names; it is removed.
    """
    before = read_record(folder)
    files = {} if before is None or before.repo != listing.repo else dict(before.files)
    for file in listing.files:
        pulled = file_as_it_is(folder / file.name, listing.commit)
        if file.sha256 and pulled.sha256 != file.sha256:
            (folder / file.name).unlink()
            raise Unavailable(
                f"File {file.name} of {listing.repo} was damaged on its way, and is removed: its SHA-256 is "
                f"{pulled.sha256[:16]}, and the Hub says {file.sha256[:16]}. The same command fetches it again."
            )
        files[file.name] = pulled
    write_record(folder, PullRecord(repo=listing.repo, files=files))


def _token() -> str | None:
    """Return the token in HF_TOKEN or in the file of HF_TOKEN_FILE; None: as the Hub's library finds one."""
    return SecretEnvironment(os.environ).get("HF_TOKEN")


def _literal(name: str) -> str:
    """Return a pattern that matches only this name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Raise the library's errors as ours."""
    try:
        from huggingface_hub import errors  # noqa: I001  # first, because its name is the one to install

        from httpx2 import HTTPError
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Fetching models needs the package '{error.name}'. Install jan-server[pull]."
        ) from None
    try:
        yield
    except errors.GatedRepoError as error:
        raise PermissionDenied(
            f"Repository {repo} is gated. Accept its terms on the Hub's web page, then set HF_TOKEN to your token."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise NotFound(
            f"The Hub has no model '{repo}', or it is private. Check the name (owner/name), or set HF_TOKEN to a "
            "token that may read it."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise NotFound(f"Repository {repo} has no such revision (a branch, a tag or a commit).") from error
    except errors.HFValidationError as error:
        raise InvalidRequest(f"'{repo}' is not the name of a model on the Hub; allowed: owner/name.") from error
    except (HTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Unavailable(
            f"Repository {repo} could not be fetched: {reason.rstrip('.')}. "
            "The same command resumes where this one ended."
        ) from error
