"""Who may reuse the cached prefix of a prompt, and who learns how much was reused: one rule for all backends.

A cached prefix shows what its writer sent: whoever guesses the next words finds more of their prompt cached
(CVE-2025-46570 measured it by time; ``cached_tokens`` would tell it exactly).
"""

from typing import Literal

from jan.engine.base import GenerationRequest

SharePrefixes = Literal["auto", "owner", "all"]


class PrefixSharing:
    """The rule that the option ``share_prefixes`` names.

    - ``auto``: each known user reuses only their own prefixes; callers without credentials share theirs.
    - ``owner``: callers without credentials are told apart too, by address.
    - ``all``: everybody reuses everything, and nobody is told how much.
    """

    def __init__(self, chosen: SharePrefixes) -> None:
        self._chosen = chosen

    def owner_of(self, request: GenerationRequest) -> str:
        """Return the owner of a request's prefixes. Only requests of the same owner may share them."""
        shares = self._chosen == "all" or (self._chosen == "auto" and request.anonymous)
        owner = "" if shares else request.owner
        return f"{owner}\0{request.cache_salt}" if request.cache_salt else owner

    def reported(self, cached: int) -> int:
        """Return the number of cached tokens that a caller learns of: 0 if others may have written them."""
        return 0 if self._chosen == "all" else cached
