"""What the errors of the Hugging Face Hub's client mean for the reader."""

from __future__ import annotations

from huggingface_hub import errors


def reason(error: Exception) -> str:
    """The first line of what an error says, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def refusal(error: Exception, otherwise: str) -> str:
    """How a sentence goes on that begins with what was asked of the Hub; `otherwise` is another way out."""
    if isinstance(error, errors.GatedRepoError):
        return "is gated: accept its terms on the Hub and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):  # the Hub answers 401 to strangers who ask for unknown names
        return "is not known to the Hub, or is private: check the name, or log in with `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return "is not to be had: the Hub knows it but not this revision"
    return (  # offline mode, time-outs, broken connections, full disks: many kinds
        f"is not to be had: the Hub could not be reached or broke off ({reason(error)}). Run it again (what has "
        f"arrived is kept), or {otherwise}."
    )
