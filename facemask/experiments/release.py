"""Make a release of the champion, as `make release` does.

Reads the champion's exported folder and model card from MLflow; writes them as one zip for upload by hand, and the
`release.toml` by which `facemask` finds it. The zip's bytes depend only on these files.
"""

import json
import re
import tempfile
from pathlib import Path

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.core.files import digest, write_text
from facemask.data.archive import write_archive
from facemask.experiments.mlflow_store import store
from facemask.experiments.promote import ARTIFACT, champion

CONTENT = ("tflite", "model_card.md")  # as a run has them
VERSION = re.compile(r"v\d+\.\d+\.\d+")


def main(version: str, address: str, folder: Path, description: Path) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    if not VERSION.fullmatch(version):
        raise UserError(f"VERSION={version:.50} is not a version such as v1.0.0")
    if not address.startswith(("https://", "http://")):
        raise UserError(f"ADDRESS={address} is not the URL of the folder to which the release will be uploaded")
    with store(), tempfile.TemporaryDirectory() as temporary:
        present = champion(MlflowClient())
        if present is None:
            raise UserError("MLflow has no champion to release; choose one: make promote EXP=NAME")
        for name in CONTENT:
            mlflow.artifacts.download_artifacts(run_id=present.run_id, artifact_path=name, dst_path=temporary)
        files = {file.name: file.read_bytes() for file in Path(temporary).rglob("*") if file.is_file()}
    asset = folder / f"{ARTIFACT}-{version}.zip"
    write_archive(asset, sorted(files.items()))
    release = {
        "version": version,
        "asset": asset.name,
        "address": f"{address.rstrip('/')}/{asset.name}",
        "sha256": digest(asset),
    }
    write_text(description, "".join(f"{key} = {json.dumps(value)}\n" for key, value in release.items()))
    print(
        f"{asset}: version {present.version} in MLflow, {asset.stat().st_size / 1e6:.1f} MB\n"
        f"Left to do by hand: upload it to {release['address']}, then commit {description}"
    )


if __name__ == "__main__":
    cli.run(main)
