"""The site of the documentation is built strictly, asks nothing of a network, and is searched from a disk."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import site_pages

pytestmark = pytest.mark.docs
pytest.importorskip("mkdocs")
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    assert site_pages.build(folder) == 0
    return folder


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"""(src=|<link [^>]*href=|@import |url\()["']?(https?:)?//""", text), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_the_search_works_from_a_disk(site):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs a Chromium")
    line = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    found = subprocess.run(
        [*line, f"file://{site}/index.html?q=popcount"], capture_output=True, text=True, timeout=120, check=False
    )
    assert re.search(r"search-result__meta\"?>\d+ matching document", found.stdout)
    assert 'href="docs/theory.html' in found.stdout.split("search-result__list", 1)[1]


def test_what_leads_nowhere_ends_the_build(tmp_path, capfd):
    root, broken = tmp_path / "root", ("docs/no_page.md", "docs/results.md#no-anchor", "docs/no_picture.png", "examples/no_file.py")
    for name in (*site_pages.PAGES, "mkdocs.yml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, root / name)
    with open(root / "README.md", "a", encoding="utf-8") as file:
        file.writelines(f"\n\n[x]({target})\n" for target in broken)
    assert site_pages.build(tmp_path / "site", root) == 1
    said = "".join(capfd.readouterr())
    assert all(target in said for target in broken)
    assert "with 4 warnings" in said
