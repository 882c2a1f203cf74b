"""fetch from Kaggle: the real client, and a fake server with its failures."""

import json
import os
import re
import socket
import subprocess
import traceback
import zipfile
from pathlib import Path

import pytest
import requests
import yaml
from conftest import ROOT, checkout, shell, stage, write_params
from hypothesis import example, given
from hypothesis import strategies as st
from loopback import SIGNATURE, Kaggle, kaggle

from facemask.core.errors import UserError
from facemask.data.archive import write_archive
from facemask.data.sources import synthetic
from facemask.data.sources.kaggle import explained

OUTPUTS = ("raw/photos.zip", "raw/photos.csv", "raw/photos.json")
HANDLE = "someone/masks/2"
BEFORE = b"what was there before"
MEGABYTE = 2**20
NO_ACCOUNT = "no Kaggle account was found on this machine; give a token from https://www.kaggle.com/settings"
BASIC, BEARER = "Basic c29tZW9uZTpzZWNyZXQ=", "Bearer secret"


@pytest.fixture
def server(tmp_path) -> Kaggle:
    """Kaggle with a dataset of two files, five megabytes."""
    write_archive(Path("served.zip"), [(f"data/{n}_mask/1.jpg", os.urandom(5 * MEGABYTE // 2)) for n in ("with", "no")])
    with kaggle(Path("served.zip").read_bytes()) as servers:
        yield servers


def fetch(server: Kaggle, handle: str = HANDLE, sha256: str | None = None, **environment):
    """Call the stage over an earlier output."""
    write_params(Path(), datasets={"photos": {"use": "split", "source": "kaggle", "handle": handle, "sha256": sha256}})
    Path("raw").mkdir(exist_ok=True)
    for output in OUTPUTS:
        Path(output).write_bytes(BEFORE)
    home = Path("home")
    home.mkdir(exist_ok=True)
    return stage("fetch", "raw=raw", **server.environment(home.absolute()) | environment)


def assert_fetched(done: subprocess.CompletedProcess, server: Kaggle) -> None:
    assert done.returncode == 0, done.stderr
    assert Path("raw/photos.zip").read_bytes() == server.content
    assert_clean()


def assert_refused(done: subprocess.CompletedProcess, message: str) -> None:
    assert done.returncode == 1
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line and "B/s]" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("fetch: ")
    assert message in lines[0]
    assert all(Path(output).read_bytes() == BEFORE for output in OUTPUTS)
    assert_clean()


def assert_clean() -> None:
    assert {path.name for path in Path().iterdir()} == {"raw", "params.yaml", "corrections.csv", "served.zip", "home"}
    assert {path.as_posix() for path in Path("raw").iterdir()} == set(OUTPUTS)


def test_a_pinned_version_is_fetched_and_recorded(server):
    done = fetch(server)
    assert_fetched(done, server)
    assert "someone/masks, version 2, licence: CC0-1.0" in done.stdout
    assert server.questions == [{"ownerSlug": "someone", "datasetSlug": "masks", "datasetVersionNumber": 2}]
    source = json.loads(Path("raw/photos.json").read_text())
    assert {key: source[key] for key in ("source", "name", "version", "licence", "files", "bytes")} == {
        "source": "kaggle", "name": "someone/masks", "version": 2, "licence": "CC0-1.0",
        "files": 2, "bytes": 2 * (5 * MEGABYTE // 2),
    }  # fmt: skip
    assert f"photos: 2 files, sha256: {source['sha256']}\n" in done.stdout
    assert_fetched(fetch(server, sha256=source["sha256"]), server)


def test_a_further_dataset_does_not_download_the_others_again(server):
    assert_fetched(fetch(server), server)
    more = {"more": {"use": "train", "source": "kaggle", "handle": "someone/more/1"}}
    pinned = {"photos": {"use": "split", "source": "kaggle", "handle": HANDLE}}
    write_params(Path(), datasets=pinned | more)
    server.questions.clear()
    environment = server.environment(Path("home").absolute())
    done = stage("fetch", "raw=raw", **environment)
    assert done.returncode == 0, done.stderr
    assert f"photos: {HANDLE} is here already" in done.stdout
    assert [question["datasetSlug"] for question in server.questions] == ["more"]
    write_params(Path(), datasets={"photos": pinned["photos"] | {"sha256": "0" * 64}})
    refused = stage("fetch", "raw=raw", **environment)
    assert refused.stderr.startswith(f"fetch: datasets.photos.sha256 is {'0' * 64} but the files hash to ")
    write_params(Path(), datasets=pinned)
    Path("raw/photos.zip").write_bytes(server.content[:-1])
    assert stage("fetch", "raw=raw", **environment).returncode == 0
    assert Path("raw/photos.zip").read_bytes() == server.content


def test_without_a_version_the_current_one_is_fetched_and_its_pin_is_printed(server):
    done = fetch(server, handle="someone/masks")
    assert_fetched(done, server)
    assert server.questions[0]["datasetVersionNumber"] == 3
    assert "to get this version every time: handle: someone/masks/3\n" in done.stdout
    assert json.loads(Path("raw/photos.json").read_text())["version"] == 3


ARCHIVE, ASKED = "archive.zip", "DownloadDataset"


@pytest.mark.parametrize(
    ("call", "script"),
    [
        (ASKED, [("status", 429, ("Retry-After", 1))]),
        (ASKED, [("status", 500)]),
        (ASKED, [("silent",)]),
        (ARCHIVE, [("status", 503)]),
        (ARCHIVE, [("cut", 3 * MEGABYTE)]),
        (ARCHIVE, [("stall", 3 * MEGABYTE)]),
        (ARCHIVE, [("cut", 3 * MEGABYTE), ("status", 403), ("status", 403)]),
    ],
    ids=["429", "500", "silent once", "503", "cut", "stall", "cut and its address expired"],
)
def test_temporary_errors_are_retried(server, call, script):
    server.scripts[call] = list(script)
    assert_fetched(fetch(server), server)
    assert not server.scripts[call]


def test_an_interrupted_transfer_is_resumed(server):
    server.scripts[ARCHIVE] = [("cut", 3 * MEGABYTE)]
    assert_fetched(fetch(server), server)
    assert server.requests[-1][1]["Range"] == f"bytes={3 * MEGABYTE}-"


@pytest.mark.parametrize(
    ("call", "act", "message"),
    [
        (ASKED, ("status", 404), "Kaggle has no dataset someone/masks/2 (404); check owner, name and version"),
        (ASKED, ("status", 401), f"shows someone/masks/2 only to signed-in users (401), and {NO_ACCOUNT}"),
        (ASKED, ("status", 403), f"shows someone/masks/2 only to signed-in users (403), and {NO_ACCOUNT}"),
        (ASKED, ("status", 429, ("Retry-After", 1)), "Kaggle asks for fewer requests (429); wait some minutes"),
        (ASKED, ("status", 503), "Kaggle has a server error (status 503); run it again later"),
        (ASKED, ("page",), "photos.zip is a web page, not a zip"),
        ("GetDatasetMetadata", ("page",), "something that is not Kaggle answered, perhaps a network's sign-in page"),
        ("GetDatasetMetadata", ("silent",), f"silent for 2 s (ConnectionError); check network and proxy, and run it "
         f"again; {NO_ACCOUNT}"),
        (ARCHIVE, ("silent",), "silent for 2 s (ConnectionError); check network and proxy, and run it again"),
        (ARCHIVE, ("cut", MEGABYTE), "one that broke off or was silent for 2 s (ChunkedEncodingError)"),
        (ARCHIVE, ("length", 7), "one that broke off or was silent for 2 s (ChunkedEncodingError)"),
        (ARCHIVE, ("length", -7), "photos.zip is not a zip, or is cut short; get it again"),
        (ARCHIVE, ("corrupt",), "cannot be unpacked: Bad CRC-32"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_a_permanent_error_is_one_line_and_the_old_files_stay(server, call, act, message):
    server.scripts[call] = [act] * 20
    assert_refused(fetch(server), message)


def test_a_refused_connection_is_one_line(server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert_refused(fetch(server, http_proxy=address), "no connection to Kaggle")


def test_other_content_of_the_same_length_is_detected_by_its_pin(server):
    with zipfile.ZipFile("other.zip", "w") as other, zipfile.ZipFile("served.zip") as served:
        for name in served.namelist():
            other.writestr(zipfile.ZipInfo(name), served.read(name)[::-1])
    pin = re.search(r"sha256: ([0-9a-f]{64})\n", fetch(server).stdout)[1]
    server.content = Path("other.zip").read_bytes()
    Path("other.zip").unlink()
    assert len(server.content) == len(Path("served.zip").read_bytes())
    assert_refused(fetch(server, sha256=pin), f"datasets.photos.sha256 is {pin} but the files hash to")


@pytest.mark.parametrize(
    ("place", "content", "header"),
    [
        ("KAGGLE_API_TOKEN", "secret", BEARER),
        ("home/.kaggle/access_token", "secret", BEARER),
        ("home/.kaggle/access_token.txt", "secret", BEARER),
        ("KAGGLE_USERNAME KAGGLE_KEY", "someone secret", BASIC),
        ("home/.kaggle/kaggle.json", '{"username": "someone", "key": "secret"}', BASIC),
        ("home/.config/kaggle/kaggle.json", '{"username": "someone", "key": "secret"}', BASIC),
    ],
)
def test_credentials_are_found_wherever_the_client_looks(server, place, content, header):
    server.password = header
    environment = {}
    if place.startswith("KAGGLE"):
        environment = dict(zip(place.split(), content.split(), strict=True))
    else:
        Path(place).parent.mkdir(parents=True)
        Path(place).write_text(content)
    done = fetch(server, **environment)
    assert_fetched(done, server)
    assert "secret" not in done.stdout + done.stderr
    assert all("Authorization" not in headers for call, headers in server.requests if call == ARCHIVE)


def test_wrong_credentials_are_one_line_that_does_not_show_them(server):
    server.password = BEARER
    done = fetch(server, KAGGLE_API_TOKEN="wrong-and-private")
    assert_refused(done, "Kaggle does not accept the credentials it got (401); give a token from")
    assert "wrong-and-private" not in done.stdout + done.stderr


def test_an_account_without_access_is_referred_to_the_terms(server):
    server.scripts[ASKED] = [("status", 403)]
    done = fetch(server, KAGGLE_API_TOKEN="secret")
    assert_refused(done, "(403); open https://www.kaggle.com/datasets/someone/masks and accept its terms")


@pytest.mark.parametrize("call", [ASKED, ARCHIVE])
def test_no_secret_is_shown_even_with_a_traceback(server, call):
    server.scripts[call] = [("status", 403)] * 9 if call == ASKED else [("cut", MEGABYTE)] * 9
    done = fetch(server, KAGGLE_API_TOKEN="secret-token", FACEMASK_DEBUG="1")
    assert done.returncode == 1
    assert "secret-token" not in done.stdout + done.stderr
    assert SIGNATURE not in done.stdout + done.stderr


def test_a_refusal_without_a_response_is_one_line():
    """So the client reports that a proxy of Kaggle's own took no token."""
    with (
        pytest.raises(UserError, match=r"credentials it got \(401\)"),
        explained("someone/masks", True, 2, reached=False),
    ):
        raise requests.HTTPError("IAP token invalid or expired")


def test_a_refusal_whose_text_is_no_json_is_one_line():
    answer = requests.Response()
    answer.status_code, answer._content = 200, b"<html>"
    with pytest.raises(UserError, match="Kaggle has a server error"), explained("a/b", True, 2, reached=False):
        raise requests.HTTPError(response=answer)


ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
SCHEMES = st.sampled_from(["http://", "https://", "socks5://", "ftp://", "http:", ""])
HOSTS = st.sampled_from(["127.0.0.1:9", "127.0.0.1:port", "127.0.0.1:99999", "[::1"])


@given(SCHEMES, ANY, HOSTS)
@example("http://", "/", "127.0.0.1:9")
@example("http://", "\u20ac", "127.0.0.1:9")
def test_no_error_of_a_proxy_shows_its_password(scheme, middle, host):
    session = requests.Session()
    proxies = {"http": f"{scheme}user:hush{middle}quiet@{host}"}
    with pytest.raises(UserError) as caught, explained("someone/masks", False, 2, reached=False):
        session.get("http://192.0.2.1/", proxies=proxies, timeout=0.2)
    shown = "".join(traceback.format_exception(caught.value))
    assert "check network and proxy" in shown
    assert "hush" not in shown
    assert "quiet" not in shown


@pytest.mark.parametrize("proxy", ["http://me:hush/quiet@127.0.0.1:9", "http://me:hush\u20acquiet@127.0.0.1:9"])
def test_a_failing_proxy_is_one_line_without_its_password_or_the_token(server, proxy):
    done = fetch(server, http_proxy=proxy, KAGGLE_API_TOKEN="hush-token")
    assert_refused(done, "no connection to Kaggle")
    assert "hush" not in done.stdout + done.stderr
    assert "quiet" not in done.stdout + done.stderr


def test_a_silent_server_does_not_block_the_sign_in(server):
    server.scripts["IntrospectToken"] = [("silent",)] * 9
    assert_fetched(fetch(server, KAGGLE_API_TOKEN="secret"), server)


def test_an_invalid_timeout_is_one_line(server):
    assert_refused(fetch(server, FACEMASK_TIMEOUT="soon"), "FACEMASK_TIMEOUT is 'soon'; give the seconds")


@pytest.mark.parametrize("handle", ["masks", "someone/masks/latest", "someone/masks/versions/1", "../masks"])
def test_an_invalid_handle_is_one_line(server, handle):
    assert_refused(fetch(server, handle=handle), f"params.yaml: datasets.photos.handle: {handle!r} is not allowed")


@pytest.mark.slow
def test_a_pipeline_runs_from_kaggle_to_the_exported_model_and_downloads_once(tmp_path, pretrained):
    faces = [synthetic.draw_member(number, 40) for number in range(90)]
    folders = {"with_mask": "WithMask", "without_mask": "WithoutMask"}
    members = [
        (f"Face Mask Dataset/{('Train', 'Train', 'Validation', 'Test')[n % 4]}/{folders[label]}/{n}.jpg", content)
        for n, (label, content) in enumerate((name.split("/")[0], content) for name, content in faces)
        if label in folders
    ]
    write_archive(tmp_path / "served.zip", members)
    repository = checkout(tmp_path / "repository", name="kaggle-12k",
                          weights=str(pretrained), train_from="head")  # fmt: skip
    with kaggle((tmp_path / "served.zip").read_bytes()) as server:
        environment = server.environment(tmp_path / "home") | {"KAGGLE_API_TOKEN": "secret-token"}
        (tmp_path / "home").mkdir()
        shell("dvc", "repro", cwd=repository, **environment)
        asked_for = [(one["datasetSlug"], one["datasetVersionNumber"]) for one in server.questions]
        assert sorted(asked_for) == [("face-mask-12k-images-dataset", 1), ("face-mask-detection", 1)]
        asked = len(server.requests)
        assert "up to date" in shell("dvc", "repro", cwd=repository, **environment)
        assert len(server.requests) == asked
    assert len(list((repository / "models/tflite").glob("*.tflite"))) == 3
    written = [path for path in repository.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert not [path for path in written if b"secret-token" in path.read_bytes()]


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("kaggle-*.yaml")), ids=lambda path: path.stem)
def test_a_preset_names_one_version(preset):
    datasets = yaml.safe_load(preset.read_text())["datasets"].values()
    handles = [dataset["handle"] for dataset in datasets if dataset["source"] == "kaggle"]
    assert handles
    assert all(handle.count("/") == 2 for handle in handles)
