"""Builds the site of README.md and docs/ into site/, strictly: a link, an anchor or a picture that leads nowhere ends it with 1.

Takes `pip install -e '.[docs]'`. No page of it loads anything from a network; open site/index.html, or copy site/ to any server.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "PERFORMANCE.md", "CHANGELOG.md", "docs", "examples", "bnn_train/binary")


def stage(pages: Path) -> None:
    """Copies what the site shows to `pages` (mkdocs takes one folder, and not its configuration's)."""
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    for name in PAGES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, pages / name, ignore=shutil.ignore_patterns("__pycache__", "__init__.py"))
        else:
            shutil.copy(source, pages / name)


def main() -> int:
    stage(ROOT / "site_pages")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement
    try:
        return subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=ROOT, env=environment
        ).returncode
    finally:
        shutil.rmtree(ROOT / "site_pages")


if __name__ == "__main__":
    sys.exit(main())
