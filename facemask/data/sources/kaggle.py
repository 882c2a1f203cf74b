"""Photos from Kaggle, through its official client.

The client is imported only where it is used: its import signs in, prints, creates a folder and may use the network. It
sets no timeout and retries nothing; here requests have a timeout, and temporary errors are retried.
"""

import contextlib
import functools
import io
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import requests
from pydantic import Field
from urllib3 import Retry

from facemask.core.errors import UserError
from facemask.data.sources.dataset import Dataset

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

RETRY = Retry(
    total=4,
    connect=2,
    read=1,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,
    backoff_factor=1,
    retry_after_max=60,
    raise_on_status=False,
)
RESUMES, TRANSFERS = 3, 2

SIGN_IN = "a token from https://www.kaggle.com/settings in KAGGLE_API_TOKEN or ~/.kaggle/access_token"
NO_ACCOUNT = (
    f"no Kaggle account was found on this machine; give {SIGN_IN}, or download the zip in a browser "
    "and name it (source: archive, path: FILE), or use synthetic faces (source: synthetic)"
)


class RetryingAdapter(requests.adapters.HTTPAdapter):
    """An adapter with a timeout in seconds that retries temporary errors."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        super().__init__(max_retries=RETRY)

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(*args, **kwargs | {"timeout": self.seconds})


def timeout() -> float:
    """The timeout in seconds: FACEMASK_TIMEOUT, or 30.

    Raises
    ------
    UserError
        If it is not a positive number.
    """
    text = os.environ.get("FACEMASK_TIMEOUT", "30")
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise UserError(f"FACEMASK_TIMEOUT is {text!r}; give the seconds that a server may be silent, for example 30")


@contextlib.contextmanager
def retrying(seconds: float) -> Iterator[None]:
    """Let all new sessions of requests use `RetryingAdapter`: the client offers no other way."""
    original = requests.sessions.HTTPAdapter
    requests.sessions.HTTPAdapter = functools.partial(RetryingAdapter, seconds)  # type: ignore[assignment, misc]  # a class
    try:
        yield
    finally:
        requests.sessions.HTTPAdapter = original  # type: ignore[misc]  # a class


def sign_in() -> tuple["KaggleApi", bool]:
    """The client, and whether it found credentials.

    Raises
    ------
    UserError
        If the client cannot make its folder.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import kaggle
            from kagglesdk.kaggle_env import get_access_token_from_env
    except OSError as error:
        raise UserError(
            f"the Kaggle client needs a folder it may write to ({error.filename}: {error.strerror}); "
            "name one in KAGGLE_CONFIG_DIR"
        ) from None
    known = kaggle.api.CONFIG_NAME_AUTH_METHOD in kaggle.api.config_values or get_access_token_from_env()[0]
    return kaggle.api, bool(known)


def refusal(status: int, handle: str, signed_in: bool) -> str:
    """The message for an HTTP status: what it means and what to do."""
    page = f"https://www.kaggle.com/datasets/{'/'.join(handle.split('/')[:2])}"
    if status == 404:
        return f"Kaggle has no dataset {handle} (404); check owner, name and version in handle against {page}"
    if status in (401, 403) and not signed_in:
        return f"Kaggle shows {handle} only to signed-in users ({status}), and {NO_ACCOUNT}"
    if status == 401:
        return f"Kaggle does not accept the credentials it got (401); give {SIGN_IN}"
    if status == 403:
        return f"your Kaggle account may not read {handle} (403); open {page} and accept its terms, or ask its owner"
    if status == 429:
        return "Kaggle asks for fewer requests (429); wait some minutes and run it again"
    return f"Kaggle has a server error (status {status}); run it again later"


def status_of(answer: requests.Response | None) -> int:
    """The HTTP status that an answer means: it may stand in its text."""
    if answer is None:  # where a token of the client's proxy has expired
        return 401
    try:
        return int(answer.json()["code"]) if answer.ok else answer.status_code
    except (ValueError, KeyError, TypeError):
        return answer.status_code


@contextlib.contextmanager
def explained(handle: str, signed_in: bool, seconds: float, reached: bool) -> Iterator[None]:
    """Turn network errors into one line; their own messages contain signed addresses and passwords of proxies."""
    try:
        yield
    except requests.HTTPError as error:
        raise UserError(refusal(status_of(error.response), handle, signed_in)) from None
    except json.JSONDecodeError:
        raise UserError(
            "something that is not Kaggle answered, perhaps a network's sign-in page; "
            "open https://www.kaggle.com in a browser, then run it again"
        ) from None
    except (requests.RequestException, UnicodeError) as error:  # the last from a proxy's password that is not Latin-1
        kind = type(error).__name__
        reason = (
            f"no connection to Kaggle, or one that broke off or was silent for {seconds:g} s ({kind}); "
            "check network and proxy, and run it again"
        )
        raise UserError(reason if signed_in or reached else f"{reason}; {NO_ACCOUNT}") from None


def describe(api: "KaggleApi", owner: str, name: str, version: str | None) -> tuple[int, str | None]:
    """The version to download, by default the current one, and the licence."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetMetadataRequest, ApiGetDatasetRequest

    with api.build_kaggle_client() as client:
        if version is None:
            question = ApiGetDatasetRequest()
            question.owner_slug, question.dataset_slug = owner, name
            version = client.datasets.dataset_api_client.get_dataset(question).current_version_number
        question = ApiGetDatasetMetadataRequest()
        question.owner_slug, question.dataset_slug = owner, name
        licences = client.datasets.dataset_api_client.get_dataset_metadata(question).info.licenses or []
    return int(version), ", ".join(licence.name for licence in licences) or None


def download(api: "KaggleApi", owner: str, name: str, version: int, destination: Path) -> None:
    """Download the zip of a version; an interrupted transfer is resumed or restarted.

    Raises
    ------
    UserError
        If every transfer ends with another size than announced.
    """
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    question = ApiDownloadDatasetRequest()
    question.owner_slug, question.dataset_slug, question.dataset_version_number = owner, name, version
    for _ in range(TRANSFERS):
        # The client prints signed addresses; its progress bar, on standard error, stays.
        with api.build_kaggle_client() as client, contextlib.redirect_stdout(io.StringIO()):
            answer = client.datasets.dataset_api_client.download_dataset(question)
            file = str(destination.absolute())
            try:
                return api.download_file(
                    answer, file, client.http_client(), quiet=not sys.stderr.isatty(), max_retries=RESUMES
                )
            except ValueError as error:
                if isinstance(error, requests.RequestException):
                    raise
    raise UserError(f"{TRANSFERS} transfers from Kaggle ended with another size than announced; run it again later")


class Kaggle(Dataset):
    """A dataset on Kaggle: owner/name/version, or owner/name for the current version."""

    source: Literal["kaggle"]
    handle: Annotated[str, Field(pattern=r"^\w[\w.-]*/\w[\w.-]*(/[1-9]\d*)?$")]

    @property
    def pinned(self) -> str | None:
        """The handle if it names a version; the content of a version never changes."""
        return self.handle if self.handle.count("/") == 2 else None


def fetch(dataset: Kaggle, destination: Path) -> dict[str, str | int | None]:
    """Download `handle`, which is owner/name or owner/name/version.

    Raises
    ------
    UserError
        If the download fails; the message says why and what to do.
    """
    owner, name, *given = dataset.handle.split("/")
    version = given[0] if given else None
    seconds = timeout()
    with retrying(seconds):
        api, signed_in = sign_in()
        with explained(dataset.handle, signed_in, seconds, reached=False):
            number, licence = describe(api, owner, name, version)
        print(f"{owner}/{name}, version {number}, licence: {licence or 'not stated'}", flush=True)
        if version is None:
            print(f"to get this version every time: handle: {owner}/{name}/{number}", flush=True)
        with explained(dataset.handle, signed_in, seconds, reached=True):
            download(api, owner, name, number, destination)
    return {"name": f"{owner}/{name}", "version": number, "licence": licence}
