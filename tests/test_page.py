"""make page: the model in a browser, without a server, answers as in Python, and asks no other computer."""

import base64
import hashlib
import io
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import programs
import pytest
from chromium import chromium
from conftest import draw_photos, wait_until, with_rule
from loopback import serving
from PIL import ExifTags, Image, PngImagePlugin
from selenium.webdriver import ActionChains

from facemask.data.detections import suppress
from facemask.data.images import decode
from facemask.data.letterbox import letterbox
from facemask.data.sources import synthetic_scenes
from facemask.engines.litert import packed_file, packed_labels, with_file, with_labels
from facemask.engines.variants import quantise
from facemask.evaluation.decision import decide
from facemask.inference.classifier import Classifier
from facemask.inference.detectors import Face
from facemask.inference.detectors.mask_detector import SETTINGS, MaskDetector
from facemask.inference.page.__main__ import RUNTIME, description
from facemask.inference.recognition import LabelledFace, classify, labelled

CALL = """
    const [name, values, done] = arguments;
    import("./engine.js").then(engine => engine[name](...values)).then(
        result => done(ArrayBuffer.isView(result) ? [...result] : result));
"""
PREDICT = """
    const [content, region, done] = arguments;
    const file = new Blob([Uint8Array.from(atob(content), letter => letter.charCodeAt(0))]);
    import("./engine.js").then(engine => engine.predict(file, region ?? undefined)).then(
        done, error => done({ error: error.message }));
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def shown(browser, page: Path) -> Iterator[str]:
    """Open a page from a server of files, wait for its model, and yield its address."""
    with serving(partial(Quiet, directory=page)) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        browser.get(address)
        wait_until(lambda: "pixels" in browser.find_element("id", "summary").text, "the page has its model", 60)
        yield address


def predicted(browser, content: bytes, region: list[int] | None = None) -> dict:
    return browser.execute_async_script(PREDICT, base64.b64encode(content).decode(), region)


def called(browser, name: str, *values):
    """What a function of the page's engine returns."""
    return browser.execute_async_script(CALL, name, values)


def made(model: Path, name: str = "page") -> Path:
    done = programs.run("facemask.inference.page", f"model={model}", f"page={name}")
    assert done.returncode == 0, done.stderr
    return Path(name).absolute()


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def assert_same(answer: dict, faces: list[LabelledFace], within: float) -> None:
    """The faces that the page found are Python's, with probabilities within a difference."""
    assert "error" not in answer, answer
    assert [(face["box"], face["label"]) for face in answer["faces"]] == [
        (list(face.box), face.label) for face in faces
    ]
    for shown, face in zip(answer["faces"], faces, strict=True):
        assert shown.get("probabilities", {}) == pytest.approx(face.probabilities, abs=within)


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        driver.set_script_timeout(60)
        yield driver


def odd_photos() -> list[bytes]:
    """PNG files of one scene: wide, small, grey, lying on its side, half transparent, and with a gamma of its own."""
    scene = synthetic_scenes.draw_scene(0, 3, 333)[0].crop((0, 0, 333, 211))
    turned, gamma = Image.Exif(), PngImagePlugin.PngInfo()
    turned[ExifTags.Base.Orientation] = 6
    gamma.add(b"gAMA", (100_000).to_bytes(4, "big"))
    clear = scene.copy()
    clear.putalpha(Image.linear_gradient("L").resize(scene.size).point(lambda value: 255 * (value > 128)))
    return [
        encoded(scene), encoded(scene.resize((20, 9))), encoded(scene.convert("L")), encoded(scene, exif=turned),
        encoded(clear), encoded(scene, pnginfo=gamma),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["int8", "float32", "float16"])
def test_the_page_answers_as_python_does(browser, exported, variant):
    """Of a PNG, every pixel is the same, and in int8 every probability; another JPEG decoder may round another way."""
    classifier = Classifier(exported / f"{variant}.tflite")
    exact = 0 if variant == "int8" else 1e-5
    photos = [(content, exact) for content in odd_photos()]
    photos += [(path.read_bytes(), exact) for path in draw_photos(Path("photos"))]
    photos += [(encoded(Image.open(path), "JPEG", quality=85), 0.01) for path in draw_photos(Path("photos"))]
    with shown(browser, made(classifier.file)):
        for photo, within in photos:
            pixels = np.asarray(decode(photo))
            answer = predicted(browser, photo)
            assert_same(answer, classify(pixels, [Face(None, 1.0)], classifier, classifier.min_size), within)
            assert (answer["height"], answer["width"]) == pixels.shape[:2]


@pytest.mark.slow
def test_the_page_finds_the_faces_that_a_detector_finds_in_python(browser, exported_detector):
    """In int8, whose scores are the same to the bit, since those of an untrained detector hardly differ."""
    content = exported_detector.read_bytes()
    sample = np.stack([letterbox(synthetic_scenes.draw_scene(1, number, 96)[0], 96)[0] for number in range(4)])
    quantised = with_labels(quantise(content, "int8", sample), packed_labels(content))
    Path("int8.tflite").write_bytes(with_file(quantised, SETTINGS, packed_file(content, SETTINGS)))
    detector = MaskDetector(Path("int8.tflite"))
    with shown(browser, made(detector.file)):
        for width, height in [(320, 211), (211, 320), (50, 50)]:
            scene = synthetic_scenes.draw_scene(0, 3, 320)[0].crop((0, 0, width, height))
            expected = labelled(detector(np.asarray(scene)), detector.classes, 0)
            assert len(expected) > 1
            assert_same(predicted(browser, encoded(scene)), expected, 0)


@pytest.mark.slow
def test_resizing_suppression_and_decision_are_pythons_to_the_bit(browser, exported):
    random = np.random.default_rng(1)
    with shown(browser, made(exported)):
        for _ in range(30):
            width, height, across, down = random.integers(1, 90, 4).tolist()
            pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            resized = called(browser, "resize", pixels.ravel().tolist(), width, height, across, down)
            expected = Image.fromarray(pixels).resize((across, down), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(resized, np.asarray(expected).ravel())

            corners = random.random((60, 2)) * 0.7
            boxes = np.hstack([corners, corners + 0.1 + 0.2 * random.random((60, 2))]).astype(np.float32)
            scores = random.random((60, 3)).astype(np.float32)
            rows = np.hstack([boxes, scores])
            kept = called(browser, "suppress", rows.tolist(), 0.6)
            np.testing.assert_array_equal(kept, rows[suppress(boxes, scores, 0.6)])

            threshold = round(float(scores[0, 1]), 6)
            for limit in (None, threshold, float(scores[0, 1])):
                [index] = decide(scores[:1], ["a", "b", "c"], "b", limit)
                assert called(browser, "decide", scores[0].tolist(), 1, limit) == index


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere_and_nothing_at_all_once_the_page_is_there(browser, exported):
    [photo] = draw_photos(Path("photos"), 1)
    page = made(exported)
    browser.get_log("performance")
    with shown(browser, page) as address:
        pass
    assert predicted(browser, photo.read_bytes())["faces"]  # the server is stopped
    browser.find_element("id", "files").send_keys(str(photo.absolute()))
    assert browser.find_element("css selector", ".face span").text
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {f"{address}model.tflite", f"{address}model.json"} <= set(asked)
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


@pytest.mark.slow
def test_a_dragged_part_of_a_photo_is_labelled_by_the_rule(browser, exported, tmp_path):
    scene = synthetic_scenes.draw_scene(0, 3, 400)[0]
    Path("scene.png").write_bytes(encoded(scene))
    model = with_rule(exported, tmp_path, label="incorrect_mask", threshold=0.000001)
    classifier = Classifier(model)
    with shown(browser, made(model)):
        browser.find_element("id", "files").send_keys(str(Path("scene.png").absolute()))
        assert browser.find_element("css selector", ".face span").text.startswith("incorrect mask")
        image = browser.find_element("css selector", ".picture img")
        scale = image.rect["width"] / 400
        actions = ActionChains(browser).move_to_element_with_offset(image, round(-100 * scale), round(-150 * scale))
        actions.click_and_hold().move_by_offset(round(120 * scale), round(200 * scale)).release().perform()
        # In one script: the page replaces the frame while the pointer moves.
        frame = "const face = document.querySelector('.face'); return [face?.offsetWidth ?? 0, face?.innerText ?? ''];"

        def framed() -> bool:
            width, text = browser.execute_script(frame)
            return width == pytest.approx(120 * scale, abs=3) and text.startswith("incorrect mask")

        wait_until(framed, "the dragged part is framed and labelled", 20)
        box = [100, 50, 220, 250]
        part = np.asarray(scene.crop(box))
        [expected] = classify(part, [Face(None, 1.0)], classifier, classifier.min_size)
        [face] = predicted(browser, encoded(scene), box)["faces"]
        assert (face["box"], face["label"], face["probabilities"]) == (box, "incorrect_mask", expected.probabilities)
        small = predicted(browser, encoded(scene), [0, 0, classifier.min_size - 1, 200])
        assert small["faces"][0]["label"] is None


@pytest.mark.slow
def test_the_webcam_and_what_is_no_photo(browser, exported):
    Path("text.jpg").write_text("no photo")
    with shown(browser, made(exported)):
        browser.find_element("id", "webcam").click()
        browser.find_element("css selector", "video ~ .face span")

        def seen() -> str:  # at once, for every picture has new elements
            return browser.execute_script("return document.querySelector('figure').innerText")

        wait_until(lambda: re.search(r"\d+ pictures/s\n(\w+ )+", seen()), "the webcam's pictures are labelled", 30)
        browser.find_element("id", "webcam").click()
        browser.find_element("id", "files").send_keys(str(Path("text.jpg").absolute()))
        assert browser.find_element("css selector", "figure .error").text == "not an image that this browser can show"


@pytest.mark.slow
def test_a_page_opened_as_a_file_says_what_it_needs(browser, exported):
    browser.get(made(exported).joinpath("index.html").as_uri())
    wait_until(lambda: "python -m http.server" in browser.find_element("id", "summary").text, "the page says so", 20)


def test_the_page_knows_the_order_of_the_outputs(exported, tmp_path):
    """JavaScript has keys that look like numbers first, and by their size; classes are in the order of text."""
    folder, labels = tmp_path / "model", ["1", "10", "2"]
    shutil.copytree(exported, folder)
    content = (folder / "int8.tflite").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        model = content[: min(file.header_offset for file in packed.infolist())]
    (folder / "int8.tflite").write_bytes(with_labels(model, b"1\n10\n2\n"))
    (folder / "labels.txt").write_text("1\n10\n2\n")
    (folder / "decision.json").write_text('{"label": "1", "threshold": null}')
    described = description(Classifier(folder), Path("/int8.tflite"))  # above which there is no folder with a card
    assert json.loads(described.model_dump_json())["labels"] == labels


def test_a_folder_of_something_else_is_not_replaced(exported):
    Path("work").mkdir()
    Path("work/thesis.txt").write_text("all of it")
    done = programs.run("facemask.inference.page", f"model={exported}", "page=work")
    assert (done.returncode, Path("work/thesis.txt").read_text()) == (1, "all of it")
    assert done.stderr == "page: work is there and is no such page; name another folder, or delete it\n"


@pytest.mark.slow
def test_a_page_is_written_anew_and_what_its_host_keeps_beside_it_stays(exported):
    for _ in range(2):
        done = programs.run("facemask.inference.page", f"model={exported}", "page=page")
        assert done.returncode == 0, done.stderr
        Path("page/CNAME").write_text("masks.example")
        Path("page/model.tflite").write_bytes(b"old")
    done = programs.run("facemask.inference.page", f"model={exported}", "page=page")
    assert done.returncode == 0, done.stderr
    assert Path("page/CNAME").read_text() == "masks.example"
    assert Path("page/model.tflite").read_bytes() == (exported / "int8.tflite").read_bytes()
    assert sorted(path.name for path in Path("page").iterdir()) == [
        "CNAME", "engine.js", "index.html", "litert", "model.json", "model.tflite",
    ]  # fmt: skip
    assert [path.name for path in Path().iterdir()] == ["page"]


def test_without_npm_there_is_one_line_and_no_page(exported):
    done = programs.run("facemask.inference.page", f"model={exported}", "page=page", PATH="/nowhere")
    assert (
        done.stderr
        == "page: npm, which fetches the runtime for browsers, is missing; install Node.js, then: make page\n"
    )
    assert not Path("page").exists()


class Registry(BaseHTTPRequestHandler):
    """Offers an archive as any version of any package, with the hash that it has."""

    def do_GET(self):
        content = self.server.archive
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        here = f"http://127.0.0.1:{self.server.server_port}/archive.tgz"
        described = {"name": "@litertjs/core", "version": "2.5.3", "dist": {"tarball": here, "integrity": integrity}}
        document = {"name": "@litertjs/core", "dist-tags": {"latest": "2.5.3"}, "versions": {"2.5.3": described}}
        body = content if self.path == "/archive.tgz" else json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_a_runtime_with_another_hash_is_refused(exported):
    package = json.dumps({"name": "@litertjs/core", "version": "2.5.3"}).encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in RUNTIME["core"].files:
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(package)
            archive.addfile(member, io.BytesIO(package))
    with serving(Registry, archive=file.getvalue()) as registry:
        address = f"http://127.0.0.1:{registry.server_port}/"
        own = {"npm_config_registry": address, "npm_config_cache": str(Path("cache").absolute())}
        done = programs.run("facemask.inference.page", f"model={exported}", "page=page", **own)
    assert done.returncode == 1
    assert done.stderr.startswith("page: @litertjs/core@2.5.3 is not the archive that this version was tested with")
    assert not Path("page").exists()
