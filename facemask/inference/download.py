"""Files that are fetched once, into the user's cache, and known by their sha256."""

from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.files import digest


def fetched(what: str, address: str, sha256: str, name: str) -> Path:
    """A file in the user's cache, downloaded the first time, and again if it was damaged; `what` it is, for messages.

    Raises
    ------
    UserError
        If it cannot be downloaded, or is another file.
    """
    import platformdirs

    file = platformdirs.user_cache_path("facemask") / name
    if file.is_file() and digest(file) == sha256:
        return file
    import pooch

    try:
        return Path(pooch.retrieve(address, f"sha256:{sha256}", name, file.parent, progressbar=True))
    except OSError as error:  # those of requests too
        answer = getattr(error, "response", None)
        status = "" if answer is None else f" {answer.status_code}"
        reason = f"cannot be fetched from {address} ({type(error).__name__}{status})"
    except ValueError:
        reason = f"at {address} has another sha256 than {sha256}"
    raise UserError(f"{what} {reason}")
