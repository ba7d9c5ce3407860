"""The page in Chromium: it draws, sorts, highlights, fits a telephone, asks for nothing and complains of nothing."""

import base64

import pytest

from bnn_train.deploy.writers.browser import Browser, find
from bnn_train.report import given
from bnn_train.report.page import html

pytest.importorskip("altair", reason="the extra [report] is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(find() is None, reason="no Chromium is installed")]

SPY = """
window.said = [];
addEventListener("error", (event) => said.push(event.message));
addEventListener("unhandledrejection", (event) => said.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => said.push(`${event.violatedDirective} ${event.blockedURI}`));
for (const name of ["log", "warn", "error"]) console[name] = (...words) => said.push(`${name}: ${words.join(" ")}`);
"""
DRAWN = """new Promise((done) => {
    const look = () => location.hash === "" && document.readyState === "complete" && typeof drawn !== "undefined"
        ? drawn.then(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))) : setTimeout(look, 20);
    look();
})"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = tmp_path_factory.mktemp("blank") / "blank.html"
    path.write_text("<!doctype html><title>blank</title>")
    with Browser(find(), path) as opened:
        opened.send("Page.enable")
        opened.send("Page.addScriptToEvaluateOnNewDocument", source=SPY)
        yield opened


@pytest.fixture
def show(browser, tmp_path):
    """show(width, scheme, *folders): the page of folders, drawn."""

    def open_page(width, scheme, *folders):
        path = tmp_path / "page.html"
        html.write(given.read(folders), path)
        browser.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.send("Page.navigate", url="about:blank")
        browser.send("Page.navigate", url=path.as_uri())
        while browser.evaluate("location.protocol") != "file:" or browser.evaluate("document.title") == "blank":
            pass
        browser.evaluate(DRAWN)
        return browser

    return open_page


@pytest.fixture
def folder(tmp_path, write_run):
    for ste, shares in (("tanh", (0.8, 0.9)), ("clipped", (0.5, 0.7)), ("identity", (0.6, 0.1))):
        for seed, share in enumerate(shares):
            write_run(tmp_path / "s" / f"{ste}{seed}", [f"ste={ste}", f"seed={seed}"], accuracy=share)
    return tmp_path / "s"


def check_quiet(browser):
    assert browser.evaluate("said") == []
    assert browser.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)") == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_and_the_page_does_not_scroll_sideways(show, folder, width, scheme):
    page = show(width, scheme, folder)
    assert page.evaluate("document.querySelectorAll('.chart').length") == 4  # loss, accuracy, confusion, health
    assert page.evaluate("[...document.querySelectorAll('.chart')].every((place) => place.querySelector('svg path, svg rect'))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    widths = (
        "[...document.querySelectorAll('.chart')].map((e) => e.querySelector('svg').getBoundingClientRect().width - e.clientWidth)"
    )
    assert all(over <= 1 for over in page.evaluate(widths))
    check_quiet(page)


def test_all_kinds_of_runs_are_drawn_quietly(show, tmp_path, write_run):
    evil = write_run(
        tmp_path / "evil", ["ste=<img src=x>"], classes=("</script><img src=https://example.org/x>", "b'\"\\"), epochs=1
    )
    many = write_run(tmp_path / "many", ["ste=b"], classes=[f"class {i}" for i in range(100)], epochs=200, health=20)
    going = write_run(tmp_path / "going", ["ste=c"], finished=False, epochs=1)
    old = write_run(tmp_path / "old", ["ste=d"], images=None, health=None)
    (old / "summary.json").write_text('{"test_accuracy": 0.5, "seconds": 2.0}')
    page = show(400, "light", evil, many, going, old)
    assert page.evaluate("[...document.querySelectorAll('.chart')].every((place) => place.querySelector('svg'))")
    assert page.evaluate("document.querySelectorAll('.chart').length") == 2 + 2 + 2 + 1 + 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('img[src=x]')") is None
    check_quiet(page)


def ranking(page):
    return page.evaluate("[...document.querySelector('table').tBodies[0].rows].map((row) => row.cells[1].textContent)")


def test_a_table_is_sorted_by_click_and_by_key(show, folder):
    page = show(1280, "light", folder)
    assert ranking(page) == ["tanh", "clipped", "identity"]
    header = "document.querySelector('table').tHead.rows[0].cells"
    page.evaluate(f"{header}[4].querySelector('button').click()")  # std: 7.07%, 14.14%, 35.36%, the largest first
    assert ranking(page) == ["identity", "clipped", "tanh"]
    assert page.evaluate(f"[...{header}].map((cell) => cell.getAttribute('aria-sort'))").count("descending") == 1
    page.evaluate(f"{header}[1].querySelector('button').focus()")
    for kind in ("rawKeyDown", "char", "keyUp"):
        page.send("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13)
    assert ranking(page) == ["clipped", "identity", "tanh"]
    assert page.evaluate(f"{header}[1].getAttribute('aria-sort')") == "ascending"
    page.evaluate(f"{header}[1].querySelector('button').click()")
    assert ranking(page) == ["tanh", "identity", "clipped"]
    assert page.evaluate("document.querySelectorAll('tr.best th')[0].textContent") == "1"  # wherever it stands


def test_a_choice_a_legend_and_a_scale_change_the_charts(show, folder):
    page = show(1280, "light", folder)
    paths = "[...document.querySelectorAll('.chart svg .mark-line path')]"
    faint = f"{paths}.filter((path) => Number(path.getAttribute('opacity') ?? 1) < 0.5).length"
    assert page.evaluate(faint) == 0
    page.evaluate("document.querySelector('.legend button').click(), charts.training.update()")
    assert page.evaluate(faint) == 4  # two of three lines in both charts
    assert page.evaluate("document.querySelector('.legend button').getAttribute('aria-pressed')") == "true"
    before = page.evaluate("charts.training.views[1].view.data('rows').length")
    assert before == 3 * 2 * 3
    assert page.evaluate("charts.training.views[0].view.signal('choice')") == 1
    page.evaluate("document.querySelector('.controls input[type=radio]').click(), charts.training.update()")
    assert page.evaluate("charts.training.views[0].view.signal('choice')") == 0
    assert page.evaluate("charts.training.views[0].view.scale('y').type") == "log"
    page.evaluate("document.querySelector('.controls input[type=checkbox]').click(), charts.training.drawn")
    assert page.evaluate("charts.training.views[0].view.scale('y').type") == "linear"
    assert page.evaluate("charts.training.views[0].view.signal('choice')") == 0  # what was chosen stays
    check_quiet(page)


def test_the_charts_turn_with_the_page_from_light_to_dark(show, folder):
    page = show(1280, "light", folder)
    colour = "getComputedStyle(document.querySelector('.chart svg .role-axis-label text')).fill"
    light = page.evaluate(colour)
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.evaluate("charts.training.drawn")
    assert page.evaluate(colour) != light
    check_quiet(page)


def test_it_can_be_printed(show, folder):
    page = show(1280, "dark", folder)
    assert base64.b64decode(page.send("Page.printToPDF")["data"]).startswith(b"%PDF")
