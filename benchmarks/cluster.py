"""Shards in a bucket, on this machine alone and on a cluster: python -m benchmarks.cluster PHOTOS.zip [SHARDS] [SIDE]

Packs the photos into shards, puts all but the last into a bucket on a loopback server, and runs survey, augment and
features with the local engine, then on three Ray nodes, of which one is killed on the way. Then adds the last shard.
Prints what was compared; needs moto[server] and ray.
"""

import argparse
import hashlib
import json
import os
import secrets
import tempfile
import threading
import time
from pathlib import Path

import boto3
import yaml
from moto.server import ThreadedMotoServer

from benchmarks import measure
from facemask.data.archive import Archive, write_archive

OUTPUTS = (
    "data/examined",
    "data/faces.csv",
    "data/pairs.csv",
    "data/manifest.csv",
    "data/shards",
    "data/features",
    "dvc.lock",
)
RECORDS = ("data/examined.json", "data/shards.json", "data/features.json")
ACCOUNT = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def pack(photos: Path, count: int, folder: Path) -> list[Path]:
    """The photos of a zip in so many shards, every class in each."""
    with Archive(photos) as archive:
        for number in range(count):
            names = archive.names[number::count]
            write_archive(folder / f"photos-{number:05d}.zip", ((name, archive.read(name)) for name in names))
    return sorted(folder.glob("*.zip"))


def settings(side: int) -> str:
    """The committed parameters with the bucket as the dataset, and splits that stay when data are added."""
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["datasets"] = {"photos": {"use": "split", "source": "shards", "path": "s3://faces/photos"}}
    content["survey"]["classes"] = {"with_mask": ["masked", "mask"], "without_mask": ["unmasked", "no_mask"]}
    content["split"]["method"] = "hashed"
    content["image_size"] = side
    return yaml.safe_dump(content, sort_keys=False)


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file of the outputs."""
    files = [file for out in OUTPUTS for file in [folder / out, *sorted((folder / out).rglob("*"))] if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def changed(before: dict, after: dict) -> list[str]:
    """The names whose value is new or another."""
    return sorted(name for name in after if before.get(name) != after[name])


def records(folder: Path) -> dict[str, dict]:
    """The records of all parts."""
    return {name: json.loads((folder / name).read_text()) for name in RECORDS}


def repro(folder: Path, **environment: str) -> None:
    """Run the stages up to `features`; print which ran and in how many seconds."""
    os.environ.update(environment)
    whole, stages, _ = measure.run(["dvc", "repro", "features"], folder)
    for name in environment:
        del os.environ[name]
    costs = ", ".join(f"{name} {cost.seconds:.1f} s" for name, cost in stages.items())
    print(f"{whole.seconds:.0f} s: {costs or 'nothing'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("shards", type=int, nargs="?", default=9)
    parser.add_argument("side", type=int, nargs="?", default=96)
    args = parser.parse_args()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # One token for all nodes; without authentication anyone who reaches the port could run code.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ |= ACCOUNT | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"} | token
    with tempfile.TemporaryDirectory() as temporary:
        *first, last = pack(args.photos.resolve(), args.shards, Path(temporary, "packed"))
        bucket = boto3.resource("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).Bucket("faces")
        bucket.create()
        for shard in first:
            bucket.upload_file(str(shard), f"photos/{shard.name}")
        alone, nodes = Path(temporary, "alone"), Path(temporary, "nodes")
        for folder in (alone, nodes):
            measure.checkout(folder, settings(args.side))
        print("local engine: ", end="", flush=True)
        repro(alone)

        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        doomed = [cluster.add_node(num_cpus=1) for _ in range(2)][-1]

        def kill() -> None:
            """Kill a node when one shard is augmented."""
            while not (nodes / "data/shards.json").exists():
                time.sleep(0.1)
            cluster.remove_node(doomed, allow_graceful=False)
            print("(a node is killed) ", end="", flush=True)

        threading.Thread(target=kill, daemon=True).start()
        print("three Ray nodes: ", end="", flush=True)
        repro(nodes, FACEMASK_ENGINE="ray", RAY_ADDRESS=cluster.address)
        cluster.shutdown()
        one, other = hashes(alone), hashes(nodes)
        print(f"{len(other):,} files, {len(changed(one, other)):,} of them other than the local engine's")
        print("then with the local engine: ", end="", flush=True)
        repro(nodes)

        before = records(nodes)
        bucket.upload_file(str(last), f"photos/{last.name}")
        measure.run(["dvc", "repro", "--force", "--single-item", "fetch"], nodes)
        print("with one shard more: ", end="", flush=True)
        repro(nodes)
        for name, after in records(nodes).items():
            print(f"{name}: {len(after)} parts, new or made again: {', '.join(changed(before[name], after))}")
    server.stop()


if __name__ == "__main__":
    main()
