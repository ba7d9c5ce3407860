"""Builds the site of README.md and docs/ into site/, strictly: a link, an anchor or a picture that leads nowhere ends it with 1.

    pip install -e '.[docs]' && python scripts/site_pages.py

No page of it loads anything from a network, and the search works from a disk: open site/index.html, or copy site/ to any server.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "PERFORMANCE.md",
    "RESULTS.md",
    "CHANGELOG.md",
    "docs",
    "examples",
    "bnn_train/binary",
    "bnn_train/lab",
)  # and what they link to


def build(site: Path, root: Path = ROOT) -> int:
    """Builds `site` from the repository at `root`, and gives mkdocs's exit code.

    mkdocs wants all pages in one folder that is not the one of its configuration: README.md and docs/ stand in a copy as they
    do in the repository, so that the links hold in both.
    """
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder) / "pages"
        for name in PAGES:
            (pages / name).parent.mkdir(parents=True, exist_ok=True)
            if (root / name).is_dir():
                shutil.copytree(root / name, pages / name, ignore=shutil.ignore_patterns("__pycache__", "__init__.py"))
            else:
                shutil.copy(root / name, pages / name)
        shutil.copy(root / "mkdocs.yml", folder)
        line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site.resolve())]
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement
        return subprocess.run(line, cwd=folder, env=environment, check=False).returncode  # with --quiet warnings would not count


if __name__ == "__main__":
    sys.exit(build(ROOT / "site"))
