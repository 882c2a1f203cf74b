"""Faults while the pipeline runs: killed, disk full, no permission, MLflow down, two runs at once, damaged cache."""

import hashlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from conftest import (
    HEAD_ONLY,
    PIPELINE,
    ROOT,
    TINY,
    arguments_of,
    checkout,
    draw_scenes,
    free_port,
    outputs_of,
    shell,
    stage,
    tracking_server,
    wait_until,
    write_params,
)

TENSORFLOW = ("features", "train", "export")
EVERY_STAGE = [pytest.param(name, marks=pytest.mark.slow) if name in TENSORFLOW else name for name in PIPELINE]
# DVC, interrupted, may lose a line in .gitignore; a clone has all of them from Git.
RECORDS = {"data/examined.json", "data/shards.json", "data/features.json"}
NO_OUTPUT = {".git", ".gitignore", ".dvc", "mlartifacts", "__pycache__"}


def files(folder: Path) -> dict[str, str]:
    """Every file that is neither DVC's, Git's nor MLflow's, with its hash."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        ignored = name.name.startswith(("mlflow.db", "measurements.csv"))
        if not ignored and not NO_OUTPUT & set(name.parts) and not path.is_dir():
            found[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    return found


def hashes(folder: Path) -> dict[str, str]:
    """The md5 of every output in dvc.lock."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for one in stages.values() for out in one.get("outs", [])}


def message(name: str, done: subprocess.CompletedProcess) -> str:
    """The one line of a stage that failed; progress bars end in a carriage return or an empty line."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith(f"{name}: ")]
    return line


def fresh(folder: Path, pretrained: Path) -> Path:
    """A checkout like that of `reproduced`, without outputs."""
    folder.mkdir()
    (folder / "tiny.weights.h5").write_bytes(pretrained.read_bytes())
    draw_scenes(folder / "scenes.zip", 20)
    return checkout(folder, **HEAD_ONLY)


def start(*command: str, folder: Path, **environment) -> subprocess.Popen:
    """Start a command in its own process group, as a terminal does."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "DVC_NO_ANALYTICS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


# --- killed


@pytest.mark.slow
def test_after_kills_at_twenty_moments_over_all_stages_repro_gives_the_same_bytes(reproduced, pretrained, tmp_path):
    """Each stage is killed twice, with DVC, between its start and a little after its end."""
    folder = fresh(tmp_path / "killed", pretrained)
    rng = random.Random(7)
    expected = files(reproduced)
    for number in range(20):
        target = list(PIPELINE)[number // 2]
        again = ["--force", "--single-item"] if number % 2 else []
        process = start("dvc", "repro", *again, target, folder=folder)
        for line in process.stdout:
            if f"Running stage '{target}'" in line:
                break
        longest = 20 if target in TENSORFLOW else 4
        time.sleep(rng.uniform(0, longest))
        os.killpg(process.pid, rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        process.communicate()
        for name, digest in files(folder).items():
            if name in RECORDS:  # of the parts that are done
                continue
            if name.startswith(("data/", "models/", "metrics/")) and ".partial" not in name and "incoming" not in name:
                assert digest == expected[name], f"{name} is partial after moment {number}, in {target}"
    shell("dvc", "repro", cwd=folder)
    assert hashes(folder) == hashes(reproduced)
    assert files(folder).keys() == expected.keys()
    assert shell("dvc", "status", cwd=folder) == "Data and pipelines are up to date.\n"


def test_ctrl_c_is_one_line_and_leaves_nothing_behind(tmp_path):
    write_params(tmp_path, datasets={"synthetic": {**TINY["datasets"]["synthetic"], "images": 100_000}})
    process = start(sys.executable, "-m", "stages.fetch", *arguments_of("fetch"), folder=tmp_path, PYTHONPATH=str(ROOT))

    def all_workers_draw() -> bool:
        assert process.poll() is None
        return any(path.stat().st_size > 10**6 for path in (tmp_path / "data").rglob("*.zip.partial"))

    wait_until(all_workers_draw, "a megabyte of faces is written")
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate()[0] == "fetch: stopped\n"
    assert process.returncode == 1
    assert sorted(files(tmp_path)) == ["corrections.csv", "params.yaml"]


# --- no space, no permission


def forget_parts(folder: Path) -> None:
    """Remove the records, so that no part is skipped."""
    for name in RECORDS:
        (folder / name).unlink()


def without_records(folder: Path) -> dict[str, str]:
    """`files`, but for the records of the parts that were done before a failure."""
    return {name: digest for name, digest in files(folder).items() if name not in RECORDS}


@pytest.mark.parametrize("name", EVERY_STAGE)
def test_a_full_disk_is_one_line_and_the_old_outputs_stay(name, copy):
    """A limit on the size of files makes the same writes fail, and needs no privilege."""
    forget_parts(copy)
    before = files(copy)
    paths = [path for out in outputs_of(name) for path in [copy / out, *(copy / out).rglob("*")] if path.is_file()]
    limit = max(path.stat().st_size for path in paths) // 2
    done = subprocess.run(
        ["prlimit", f"--fsize={limit}", sys.executable, "-m", f"stages.{name}", *arguments_of(name)],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "File too large" in message(name, done)
    assert without_records(copy) == before


@pytest.mark.parametrize("name", EVERY_STAGE)
def test_a_read_only_folder_is_one_line_and_the_old_outputs_stay(name, copy):
    forget_parts(copy)
    before = files(copy)
    out = copy / outputs_of(name)[-1]
    folder = out if name == "fetch" else out.parent  # fetch keeps the folder of its archives
    # Root may write anywhere, unless it drops the capability.
    unprivileged = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
    folder.chmod(0o555)
    done = subprocess.run(
        [*unprivileged, sys.executable, "-m", f"stages.{name}", *arguments_of(name)],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    folder.chmod(0o755)
    assert "Permission denied" in message(name, done)
    assert without_records(copy) == before


# --- MLflow fails


@contextmanager
def server(folder: Path, requests: int) -> Iterator[str]:
    """The address of a real MLflow server that stops after a number of requests."""
    port = free_port()
    store = ["--backend-store-uri", f"sqlite:///{folder}/served.db", "--artifacts-destination", str(folder / "served")]
    args = ["mlflow", "server", *store, "--port", str(port), "--workers", "1"]
    left = threading.Semaphore(requests)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def forward(self):
            if not left.acquire(blocking=False):
                self.close_connection = True
                return
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            question = urllib.request.Request(
                f"http://127.0.0.1:{port}{self.path}", content or None, headers, method=self.command
            )
            try:
                answer = urllib.request.urlopen(question)
            except urllib.error.HTTPError as error:
                answer = error
            body = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

    with (
        tracking_server(args, port, folder),
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as between,
    ):
        threading.Thread(target=between.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{between.server_address[1]}"
        between.shutdown()


def recorded(copy: Path, **environment) -> subprocess.CompletedProcess:
    """Delete the output of record, run the stage, and check that the output is the same."""
    before = files(copy)
    for out in outputs_of("record"):
        (copy / out).unlink()
    done = stage("record", *arguments_of("record"), folder=copy, **environment)
    assert done.returncode == 0, done.stderr
    assert files(copy) == before
    return done


def warned(done: subprocess.CompletedProcess) -> bool:
    """Whether the last line is the warning, and the only one, that the run was not recorded."""
    lines = [line for line in done.stderr.splitlines() if "warning:" in line]
    assert len(lines) <= 1
    assert "Traceback" not in done.stderr
    if lines:
        assert lines[0] == done.stderr.splitlines()[-1]
        assert lines[0].startswith("warning: not recorded in MLflow (")
    return bool(lines)


@pytest.mark.slow
@pytest.mark.parametrize("requests", [0, 4, 12])
def test_a_server_that_stops_is_a_warning_and_the_outputs_stay(requests, copy):
    with server(copy.parent, requests) as uri:
        assert warned(recorded(copy, MLFLOW_TRACKING_URI=uri))


@pytest.mark.slow
def test_a_working_server_gives_no_warning(copy):
    with server(copy.parent, 10_000) as uri:
        assert not warned(recorded(copy, MLFLOW_TRACKING_URI=uri))


@pytest.mark.slow
def test_a_locked_database_is_a_warning_and_the_outputs_stay(copy):
    with sqlite3.connect(copy / "mlflow.db") as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert warned(recorded(copy))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["half", "no database"])
def test_a_damaged_database_is_a_warning_and_the_outputs_stay(damage, copy):
    content = (copy / "mlflow.db").read_bytes()
    (copy / "mlflow.db").write_bytes(content[: len(content) // 2] if damage == "half" else b"x" * 4096)
    assert warned(recorded(copy))
    (copy / "mlflow.db").unlink()
    assert not warned(recorded(copy))


@pytest.mark.slow
def test_the_command_in_the_warning_records_the_run(copy):
    before = files(copy)
    (copy / "mlflow.db").unlink()
    shell("dvc", "repro", "--force", "--single-item", "record", cwd=copy)
    assert files(copy) == before
    mlflow.set_tracking_uri(f"sqlite:///{copy}/mlflow.db")
    [run] = mlflow.search_runs(experiment_names=["facemask"], output_format="list")
    assert {"epoch.val_loss", "accuracy", "int8_accuracy"} <= set(run.data.metrics)


# --- two at once


@pytest.mark.slow
def test_of_two_repros_at_once_one_succeeds_and_the_other_succeeds_or_reports_the_lock(tmp_path):
    folder = checkout(tmp_path / "shared")
    first = start("dvc", "repro", "survey", folder=folder)
    for line in first.stdout:
        if "Running stage 'fetch'" in line:
            break
    second = start("dvc", "repro", "survey", folder=folder)
    refusal = second.communicate()[0]
    assert first.communicate() and first.returncode == 0
    assert "Traceback" not in refusal
    assert second.returncode == 0 or re.search(r"ERROR: .*(busy|Unable to acquire lock)", refusal), refusal
    assert "up to date" in shell("dvc", "repro", "survey", cwd=folder)
    alone = checkout(tmp_path / "alone")
    shell("dvc", "repro", "survey", cwd=alone)
    assert hashes(folder) == hashes(alone)


@pytest.mark.slow
def test_eight_queued_experiments_are_eight_runs_with_the_right_parameters(copy):
    for path in copy.glob("mlflow.db*"):
        path.unlink()
    rates = [0.01 / (number + 1) for number in range(8)]
    shell("dvc", "exp", "run", "--queue", "--set-param", f"lr={','.join(map(str, rates))}", cwd=copy)
    shell("dvc", "queue", "start", "--jobs", "2", cwd=copy)

    def idle() -> str | None:
        shown = shell("dvc", "queue", "status", cwd=copy).split("Worker status")[0]
        return None if re.search(r"Queued|Running", shown) else shown

    status = wait_until(idle, "no experiment is queued or running", 900)
    names = re.findall(r"^\w{7}\s+([a-z]+-[a-z]+)\s.*Success", status, re.MULTILINE)
    assert len(names) == 8, status
    mlflow.set_tracking_uri(f"sqlite:///{copy}/mlflow.db")
    recorded = mlflow.search_runs(experiment_names=["facemask"], output_format="list")
    assert sorted(run.info.run_name for run in recorded) == sorted(names)
    shown = pd.read_csv(pd.io.common.StringIO(shell("dvc", "exp", "show", "--csv", cwd=copy))).set_index("Experiment")
    for run in recorded:
        assert run.info.status == "FINISHED"
        assert float(run.data.params["lr"]) == pytest.approx(shown.lr[run.info.run_name])
        assert {"accuracy", "int8_accuracy"} <= set(run.data.metrics)
    assert sorted(float(run.data.params["lr"]) for run in recorded) == pytest.approx(sorted(rates))


# --- the cache is damaged


@pytest.fixture
def cached(copy) -> tuple[Path, bytes]:
    """The cache file of an output that was deleted from the workspace, and its content."""
    digest = hashes(copy)["data/faces.csv"]
    entry = copy / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"
    content = entry.read_bytes()
    (copy / "data/faces.csv").unlink()
    entry.chmod(0o644)
    return entry, content


@pytest.mark.parametrize(
    ("damage", "protected"),
    [(lambda content: content.upper(), True), (lambda content: content[:5000], False)],
    ids=["overwritten, still read-only", "cut short, writable"],
)
def test_a_damaged_file_in_the_cache_is_made_again_once_dvc_hashes_it(damage, protected, cached, copy):
    """DVC does not hash read-only files in its cache; it does if they are writable."""
    entry, content = cached
    entry.write_bytes(damage(content))
    if protected:
        entry.chmod(0o444)
        shell("dvc", "checkout", cwd=copy)
        assert (copy / "data/faces.csv").read_bytes() == damage(content)
        shell("chmod", "-R", "u+w", ".dvc/cache/files", cwd=copy)
        (copy / "data/faces.csv").unlink()
    shell("dvc", "repro", "survey", cwd=copy)
    assert (copy / "data/faces.csv").read_bytes() == content == entry.read_bytes()
    assert shell("git", "status", "--porcelain", cwd=copy) == ""
