"""facemask serve: a page and an API, for this machine only."""

import base64
import errno
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import pytest
import requests
from chromium import chromium
from conftest import ROOT, draw_photos, facemask, wait_until, with_rule
from PIL import Image
from test_hostile import vast_png

from facemask.inference.commands.serve import forgiving

MB = 2**20
HEAD = b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"


class Server:
    """A running server: its address and its process."""

    def __init__(self, address: str, process: subprocess.Popen):
        self.address, self.process = address, process

    def predict(self, content, within: float = 60, **headers) -> requests.Response:
        return requests.post(f"{self.address}api/predict", data=content, headers=headers, timeout=within)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", urlsplit(self.address).port), 10)

    def peak(self) -> int:
        """Peak memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@contextmanager
def serving(*args, cores: set[int] | None = None, source: Path = ROOT) -> Iterator[Server]:
    """A server on a free port, on some cores if given, of this or other source code; stopped by Ctrl-C."""
    command = [sys.executable, "-m", "facemask", "serve", "--port", "0", "--no-browser", *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        if cores:
            os.sched_setaffinity(process.pid, cores)
        try:
            line = process.stderr.readline()
            yield Server(
                re.fullmatch(r"facemask serve: (http://127\.0\.0\.[12]:\d+/) \(Ctrl-C stops it\)\n", line)[1], process
            )
        finally:
            process.send_signal(signal.SIGINT)
            stderr = process.stderr.read()
            assert (process.wait(30), stderr) == (0, "")


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("card") / "card.md"
    path.write_text("# Model card\n\n## Limits\n\n| a | b |\n| --- | --- |\n| <b>1</b> | 2 |\n\n- **one** `two`\n")
    return path


@pytest.fixture(scope="module")
def server(exported, card):
    with serving("--model", exported, "--detector", "none", "--card", card) as started:
        yield started


def test_the_api_agrees_with_facemask_predict(server, exported):
    [photo] = draw_photos(Path("photos"), 1)
    answer = server.predict(photo.read_bytes()).json()
    done = facemask("predict", photo, "--model", exported, "--detector", "none", "--format", "json")
    assert answer["faces"] == json.loads(done.stdout)["faces"]
    assert (answer["width"], answer["height"]) == (60, 60)


def test_the_api_has_an_openapi_description(server):
    schema = requests.get(f"{server.address}openapi.json", timeout=10).json()
    predict = schema["paths"]["/api/predict"]["post"]
    assert predict["requestBody"]["content"] == {"image/*": {"schema": {"type": "string", "format": "binary"}}}
    assert {"200", "403", "413", "422"} <= set(predict["responses"])


def test_the_decision_rule_and_the_card_are_shown(exported, card, tmp_path):
    model = with_rule(exported, tmp_path, label="without_mask", threshold=0.37)
    with serving("--model", model / "float32.tflite", "--detector", "none", "--card", card) as server:
        shown = requests.get(f"{server.address}api/model", timeout=10).json()
    assert (shown["file"], shown["label"], shown["threshold"]) == ("float32.tflite", "without_mask", 0.37)
    assert list(shown["classes"]) == (exported / "labels.txt").read_text().split()
    assert shown["card"] == card.read_text()


def test_the_page_loads_nothing_from_other_servers(server):
    page = requests.get(server.address, timeout=10)
    assert not re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]+", page.text)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def huge() -> bytes:
    file = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "not an image"),
        (b"", "empty file"),
        (b"\xff\xd8\xff", "not an image"),
        (huge(), "10000 x 10000 pixels; 50,000,000 are allowed"),
    ],
    ids=["text", "empty", "cut short", "hundred megapixels"],
)
def test_an_invalid_photo_is_refused_in_one_line(server, content, reason):
    answer = server.predict(content)
    assert (answer.status_code, answer.json()) == (422, {"detail": reason})


def test_a_photo_of_one_column_is_refused_before_it_is_decoded(server):
    before = server.peak()
    answer = server.predict(vast_png(1, 50_000_000))
    assert answer.json() == {"detail": "1 x 50000000 pixels; a side of 65,535 is allowed"}
    assert server.peak() - before < 100 * MB


def test_an_aborted_upload_is_not_reported(exported):
    with serving("--model", exported, "--detector", "none") as server:  # which must print nothing
        for _ in range(20):
            with server.connect() as connection:
                connection.sendall(HEAD + bytes(1000))
        assert server.predict(b"hello").status_code == 422


def assert_ended(connection: socket.socket) -> None:
    """Wait until the server ends a connection."""
    connection.settimeout(1)

    def ended() -> bool:
        try:
            return connection.recv(10_000) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    wait_until(ended, "the server ends a silent connection", 60)


def test_a_client_that_never_ends_its_headers_is_cut_off(server):
    with server.connect() as connection:
        connection.sendall(HEAD[:40])
        assert_ended(connection)


@pytest.mark.slow
def test_the_server_survives_a_flood_and_silent_clients(exported):
    file = io.BytesIO()
    Image.effect_noise((3000, 2000), 20).convert("RGB").save(file, "JPEG", quality=30)
    photo = file.getvalue()
    with serving("--model", exported, "--detector", "none") as server, ExitStack() as stack:
        assert server.predict(photo).status_code == 200
        one = server.peak()

        def crowd(count: int, sent: bytes) -> list[socket.socket]:
            connections = [stack.enter_context(server.connect()) for _ in range(count)]
            for connection in connections:
                connection.sendall(sent)
            return connections

        silent = crowd(200, b"") + crowd(50, HEAD[:40])
        assert server.predict(photo).status_code == 200  # silent clients do not block others
        silent += crowd(50, HEAD + bytes(1000))
        with ThreadPoolExecutor(300) as clients:
            flood = list(clients.map(lambda _: server.predict(photo).status_code, range(300)))
        assert set(flood) <= {200, 503}
        for connection in silent:
            assert_ended(connection)
        assert server.predict(photo).status_code == 200
        with ThreadPoolExecutor(300) as clients:
            flood = list(clients.map(lambda _: server.predict(photo).status_code, range(300)))
        assert set(flood) == {200, 503}
        assert server.predict(photo).status_code == 200
        assert server.peak() - one < 300 * MB


@pytest.mark.slow
def test_the_server_survives_five_minutes_of_floods(exported):
    """300 requests at once beside 200 silent and 100 half-open connections, again and again."""
    [photo] = [path.read_bytes() for path in draw_photos(Path("photos"), 1)]
    rounds, end = 0, time.monotonic() + 300
    with serving("--model", exported, "--detector", "none") as server, ThreadPoolExecutor(300) as clients:
        assert server.predict(photo).status_code == 200
        before = server.peak()
        while time.monotonic() < end:
            with ExitStack() as stack:
                for sent in [b""] * 200 + [HEAD[:40]] * 50 + [HEAD + bytes(1000)] * 50:
                    stack.enter_context(server.connect()).sendall(sent)
                flood = list(clients.map(lambda _: server.predict(photo).status_code, range(300)))
            assert set(flood) <= {200, 503}
            assert server.predict(photo, within=2).status_code == 200
            rounds += 1
        assert server.peak() - before < 100 * MB
    print(f"{rounds} floods")


def test_a_gigabyte_is_refused_without_being_stored(server):
    before = server.peak()
    assert server.predict(bytes(MB) for _ in range(1024)).status_code == 413
    assert server.peak() - before < 100 * MB


def test_a_gigabyte_that_is_announced_is_refused_at_once(server):
    with server.connect() as connection:
        connection.sendall(b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1073741824\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_ten_clients_at_once_are_all_answered_in_the_memory_of_two(exported):
    file = io.BytesIO()
    Image.effect_noise((6000, 5000), 20).convert("RGB").save(file, "JPEG", quality=30)
    photo = file.getvalue()
    two_cores = set(sorted(os.sched_getaffinity(0))[:2])
    with serving("--model", exported, "--detector", "none", cores=two_cores) as server:
        idle = server.peak()
        server.predict(photo)
        one = server.peak() - idle
        with ThreadPoolExecutor(10) as clients:
            answers = list(clients.map(lambda _: server.predict(photo), range(20)))
        ten = server.peak() - idle
    assert {answer.status_code for answer in answers} == {200}
    assert len({json.dumps(answer.json()["faces"]) for answer in answers}) == 1
    assert ten < 4 * one  # twice, and what the allocator keeps


@pytest.mark.parametrize("headers", [{"Host": "attacker.example"}, {"Host": "127.0.0.1.attacker.example"}])
def test_requests_with_another_host_name_are_refused(server, headers):
    for path in ("", "api/model", "openapi.json"):
        assert requests.get(server.address + path, headers=headers, timeout=10).status_code == 400


@pytest.mark.parametrize("origin", ["http://attacker.example", "null", "http://127.0.0.1:1"])
def test_requests_of_another_sites_page_are_refused(server, origin):
    assert server.predict(b"hello", Origin=origin).status_code == 403
    own = server.address.rstrip("/")
    assert server.predict(b"hello", Origin=own).status_code == 422
    assert server.predict(b"hello", Origin=own.replace("http:", "https:")).status_code == 422


def test_only_this_machine_can_connect(server):
    port = urlsplit(server.address).port
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    assert re.findall(rf"(\w+):{port:04X} \w+:0000 0A", listening) == ["0100007F"]


def test_a_container_listens_on_all_addresses_and_still_refuses_other_host_names(exported):
    with serving("--model", exported, "--detector", "none", "--host", "0.0.0.0") as server:
        port = urlsplit(server.address).port
        listening = Path("/proc/net/tcp").read_text()
        assert re.findall(rf"(\w+):{port:04X} \w+:0000 0A", listening) == ["00000000"]
        assert requests.get(server.address, timeout=10).status_code == 200
        for other in ("attacker.example", f"0.0.0.0:{port}"):
            assert requests.get(server.address, headers={"Host": other}, timeout=10).status_code == 400


def test_the_address_of_an_interface_is_printed_and_answers(exported):
    with serving("--model", exported, "--detector", "none", "--host", "127.0.0.2") as server:
        assert server.address.startswith("http://127.0.0.2:")
        assert requests.get(server.address, timeout=30).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "no.address.invalid"])
def test_an_address_that_cannot_be_used_is_one_line(host, server, exported):
    port = urlsplit(server.address).port
    where = "--host", host, "--port", port
    done = facemask("serve", *where, "--model", exported, "--detector", "none", "--no-browser")
    assert done.returncode == 1
    message = rf"facemask serve: port {port} of {host} cannot be used \(.+\); name others with --port.*\n"
    assert re.fullmatch(message, done.stderr)


def test_a_missing_card_is_one_line(exported):
    done = facemask("serve", "--card", "no.md", "--model", exported, "--detector", "none", "--no-browser")
    assert (done.returncode, done.stderr) == (1, "facemask serve: --card: there is no file no.md\n")


def test_a_card_that_is_no_text_is_one_line(exported):
    Path("card.md").write_bytes("Größe".encode("latin-1"))
    done = facemask("serve", "--card", "card.md", "--model", exported, "--detector", "none", "--no-browser")
    assert done.returncode == 1
    assert done.stderr == "facemask serve: card.md is no model card: it is not UTF-8; name another one\n"


def test_photos_are_answered_while_the_log_cannot_be_written(capsys):
    def full(faces: list) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write = forgiving(full)
    for _ in range(3):
        write([])
    message = "facemask serve: --log cannot be written (No space left on device); faces are missing\n"
    assert capsys.readouterr().err == message


@pytest.fixture
def browser(shared, tmp_path):
    """Chromium, with the first seconds of the video of four people as its webcam."""
    video = cv2.VideoCapture(str(shared / "data/four_people_masking.mp4"))
    with (tmp_path / "webcam.mjpeg").open("wb") as film:
        for _ in range(50):
            film.write(cv2.imencode(".jpg", video.read()[1])[1].tobytes())
    with chromium(f"use-file-for-fake-video-capture={tmp_path / 'webcam.mjpeg'}") as driver:
        yield driver


DROP = """
    const [name, content] = arguments, transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(content), letter => letter.charCodeAt(0))], name));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
"""


@pytest.mark.slow
@pytest.mark.real
def test_the_page_shows_faces_of_photos_and_of_the_webcam(browser, exported, card, shared, tmp_path):
    video = cv2.VideoCapture(str(shared / "data/four_people_masking.mp4"))
    photo, text = tmp_path / "people.png", tmp_path / "text.jpg"
    cv2.imwrite(str(photo), video.read()[1])
    text.write_text("no photo")
    detector = shared / "weights/face_detection_yunet_2023mar.onnx"
    model = with_rule(exported, tmp_path, label="without_mask", threshold=0.37)

    def texts(selector: str) -> list[str]:
        return [element.text for element in browser.find_elements("css selector", selector)]

    with serving("--model", model, "--detector-weights", detector, "--min-size", 50, "--card", card) as server:
        browser.get(server.address)
        assert texts("#card h3") == ["Limits"]
        assert texts("#card td") == ["<b>1</b>", "2"]
        assert "0.37" in texts("#rule")[0]
        browser.find_element("id", "files").send_keys(f"{photo}\n{text}")
        assert texts(".error") == ["not an image"]
        frames = browser.find_elements("css selector", ".face")
        assert len(frames) == 5
        assert len([label for label in texts(".face span") if re.search(r"mask .+ %$", label)]) == 4
        assert texts(".faces li").count("too small to tell") == 1
        image = browser.find_element("css selector", ".picture img")
        answer = server.predict(photo.read_bytes()).json()
        left, top, right, _ = answer["faces"][0]["box"]
        scale = image.rect["width"] / answer["width"]
        rect = frames[0].rect
        assert rect["x"] - image.rect["x"] == pytest.approx(left * scale, abs=2)
        assert rect["y"] - image.rect["y"] == pytest.approx(top * scale, abs=2)
        assert rect["width"] == pytest.approx((right - left) * scale, abs=2)

        browser.execute_script(DROP, "dropped.png", base64.b64encode(photo.read_bytes()).decode())
        browser.find_element("xpath", "//figure[.//b='dropped.png']//div[@class='face']")
        assert texts("figure b") == ["dropped.png", "text.jpg", "people.png"]

        browser.find_element("id", "webcam").click()
        browser.find_element("css selector", "video ~ .face span")
        wait_until(lambda: re.search(r"\d+ pictures/s", texts("figure .name")[0]), "the page shows pictures/s", 30)
        browser.find_element("id", "webcam").click()
        browser.implicitly_wait(0)
        assert not browser.find_elements("tag name", "video")
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert [message for message in severe if "422" not in message] == []
