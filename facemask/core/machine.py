"""The kind of machine, and the versions, that set the last digits of features, weights and scores."""

import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "opencv-python-headless", "pillow", "scikit-learn")
CPUINFO = Path("/proc/cpuinfo")
VECTORS = {"avx512bw": "AVX-512", "avx2": "AVX2", "avx": "AVX"}  # by their flag in it, the widest first


def processor(cpuinfo: Path = CPUINFO) -> str:
    """The architecture, with the widest vector instructions that the libraries choose by: x86_64 with AVX-512."""
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.is_file() else set()
    widest = next((name for flag, name in VECTORS.items() if flag in flags), None)
    return f"{platform.machine()} with {widest}" if widest else platform.machine()


def kind() -> dict[str, str]:
    """Processor, version of Python, and versions of the packages whose results are outputs, by name."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"processor": processor(), "Python": python} | {name: version(name) for name in PACKAGES}
