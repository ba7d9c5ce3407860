"""What a result was made with, for summary.json and checkpoints."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions() -> dict[str, str]:
    """Of Python, the platform and the packages that a result depends on."""
    found = {"python": platform.python_version(), "platform": sys.platform}
    for package in ("bnn-train", "torch", "torchvision", "hydra-core"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit(root: Path) -> str | None:
    """The commit of the checkout at `root`, with "+changes" where files differ from it; None where `root` is no checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None  # installed somewhere inside a checkout of something else
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def processor(file: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, such as "AMD EPYC 7B13"; what kind it is where the system does not tell."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
