"""No message contains a secret of a URL, in any form in which a library repeats it."""

import string
import subprocess
import sys
from urllib.parse import quote

import pytest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st

from facemask.core.errors import redacted

SECRET = "s3cr3tw0rd"
ODD = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=12)
WORD = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=12)
SCHEME = st.sampled_from(["http", "https", "rtsp", "postgresql+psycopg", "socks5h", "s3"])
MESSAGE = st.sampled_from(["cannot open {}", "{}", "it said: '{}' (no route)", "see http://localhost/a, then {}."])
PARAMETER = st.sampled_from(["password", "pwd", "access_token", "X-Amz-Signature", "apiKey", "sslpassword", "auth"])


@given(MESSAGE, SCHEME, WORD, ODD, ODD, WORD)
@example("{}", "http", "user", "a/b@c?d#", "/1@2", "host")
@example("{}", "rtsp", "admin", "two words ", " three", "camera")
def test_credentials_with_any_password_are_hidden(message, scheme, user, before, after, host):
    for password in (f"{before}{SECRET}{after}", quote(f"{before}{SECRET}{after}")):
        shown = redacted(message.format(f"{scheme}://{user}:{password}@{host}:8554/path"))
        assert SECRET not in shown
        assert f"{scheme}://***@{host}:8554/path" in shown
        assert redacted(shown) == shown


@given(MESSAGE, SCHEME, st.sampled_from(["/", ""]), WORD, st.text(string.ascii_letters + "/:+.~%@!$'\"", max_size=12))
def test_credentials_are_hidden_if_slashes_are_missing(message, scheme, slashes, user, odd):
    assert SECRET not in redacted(message.format(f"{scheme}:{slashes}{user}:{odd}{SECRET}{odd}@host:5000/path"))


@given(PARAMETER, MESSAGE, SCHEME, WORD, st.text(string.ascii_letters + "/:+.~%@!$'\"", max_size=12))
def test_secret_parameters_are_hidden(name, message, scheme, host, odd):
    for url in (f"{scheme}://{host}/live?user=u&{name}={odd}{SECRET}&x=1", f"/live?{name}={odd}{SECRET}{odd}"):
        assert SECRET not in redacted(message.format(url))


@given(SCHEME, WORD, ODD)
def test_a_token_without_a_user_is_hidden(scheme, host, odd):
    token = "".join((odd + SECRET).split())
    assert redacted(f"{scheme}://{token}@{host}/x: refused") == f"{scheme}://***@{host}/x: refused"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org:5000/api/2.0/x?path=a&page=2 answered 404",
        "models:/facemask@champion is not there",
        "study@1a2b3c4",
        "failed at 12:30: see a@b.org",
        "no face in photo@2x.png; write to a@b.org",
        "rtsp://camera/live?user=admin",
    ],
)
def test_text_without_secrets_is_unchanged(text):
    assert redacted(text) == text


@pytest.mark.parametrize("error", ["UserError", "ValueError"])
@pytest.mark.parametrize("debug", ["0", "1"])
def test_neither_a_message_nor_a_traceback_contains_a_secret(error, debug, tmp_path):
    (tmp_path / "command.py").write_text(
        "import os\nfrom facemask.core import cli\nfrom facemask.core.errors import UserError\n"
        f"def main() -> None:\n    raise {error}(os.environ['URL'])\ncli.run(main)\n"
    )
    environment = {
        "PYTHONPATH": str(ROOT),
        "FACEMASK_DEBUG": debug,
        "URL": f"http://user:pa/{SECRET}@host/?token={SECRET}",
    }
    done = subprocess.run(
        [sys.executable, "command.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    assert "http://***@host/?token=***" in done.stderr
    assert ("Traceback" in done.stderr) == (debug == "1" or error == "ValueError")
