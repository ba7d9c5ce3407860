"""The web page: it is whole, tells nothing of this machine, and computes in a browser what the runner computes, bit for bit."""

import base64
import importlib.util
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train import device, models
from bnn_train.binary.layers import BinaryLayer
from bnn_train.data.decode import decode, refit
from bnn_train.data.fitting import FITS
from bnn_train.deploy import file, pictures, reference
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed
from bnn_train.deploy.packing.pack import pack
from bnn_train.deploy.runner import Network
from bnn_train.deploy.writers import html
from bnn_train.deploy.writers.browser import Browser, find
from bnn_train.errors import ConfigError

browser_only = [pytest.mark.browser, pytest.mark.skipif(find() is None, reason="no Chromium is installed")]
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def kinds():
    """tests/deploy/test_independent_reader.py: networks of every kind, and operations one by one."""
    spec = importlib.util.spec_from_file_location("kinds_of_networks", ROOT / "test_independent_reader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network_of(compose, *overrides, shape=(1, 8, 8), about=None):
    """A network of random weights, packed."""
    device.make_reproducible(0)
    model = models.build(compose(*overrides), shape, 10).eval()
    known = {"classes": [str(k) for k in range(10)], **(about or {})}
    return pack(model, shape, [0.4] * shape[0], [0.3] * shape[0], known)


@pytest.fixture
def small(compose):
    about = {
        "run": "/home/somebody/r", "checkpoint": "/home/somebody/r/x.pt", "data": {"name": "digits", "root": "/home/somebody/data"},
        "figures": {"test_accuracy": 0.975}, "float32_bytes": 2_300_000,
    }  # fmt: skip
    return network_of(compose, "model.hidden=[16,12]", about=about)


# The page as a text.


def embedded(page):
    content = re.search(r'id="network">([A-Za-z0-9+/=]+)</script>', page)[1]
    return file.decode(base64.b64decode(content))


def facts(page):
    return json.loads(re.search(r'id="facts">(.*)</script>', page)[1])


def test_the_page_holds_the_exported_file(small):
    page = html.page(small)
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
    assert np.array_equal(Network(embedded(page)).logits(images), Network(small).logits(images))
    assert len(page) < 80_000
    assert "{{" not in page


def test_the_page_asks_for_nothing_from_elsewhere(small):
    page = html.page(small)
    assert set(re.findall(r"\w+://[^'\"\s]*", page)) == {"http://www.w3.org/2000/svg"}  # the name of a language, never fetched
    assert "default-src 'none'" in page
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts|eval)\b\(?|<link[^>]+stylesheet|<script[^>]+src=", page)


def test_the_page_tells_nothing_of_the_machine(small):
    page = html.page(small)
    assert "somebody" not in page
    assert b"somebody" not in base64.b64decode(re.search(r'id="network">([^<]+)<', page)[1])


def test_names_of_classes_are_text_and_no_markup(compose):
    evil = ["</script><b>", "{{page.js}}", *"abcdefgh"]
    page = html.page(network_of(compose, "model.hidden=[8,8]", about={"classes": evil}))
    assert "<b>" not in page
    assert facts(page)["classes"] == evil
    assert page.count("function scoresOf") == 1


def test_a_drawing_field_is_there_for_handwriting_alone(compose, small):
    assert facts(html.page(small))["drawn"] == "digits"
    for data, shape in (("fashion_mnist", (1, 28, 28)), ("digits", (1, 9, 9)), ("image_folder", (1, 8, 8))):
        page = html.page(network_of(compose, "model.hidden=[8,8]", shape=shape, about={"data": {"name": data}}))
        assert facts(page)["drawn"] is None


def test_the_first_signs_are_shown_or_else_the_first_products(compose, small):
    assert html.seen(small) == [(3, "linear1")]
    assert html.seen(network_of(compose, "model.hidden=[9,8,7]")) == [(3, "linear1"), (5, "linear2")]
    real = network_of(compose, "model.hidden=[16,12]", "ste=none")
    assert [(infer(real)[i].kind, name) for i, name in html.seen(real)] == [("whole", "linear1"), ("real", "linear2")]
    image = network_of(compose, "model.hidden=[16,12]", "model.binarize_input=true")
    assert [name for _, name in html.seen(image)] == ["image", "linear1"]


def test_accuracy_and_sizes_stand_on_the_page(small):
    page = html.page(small)
    for figure in ("<dd>97.50 %</dd>", "instead of 2.3 MB in float32", "<title>A binary network for handwritten digits</title>"):
        assert figure in page


def test_other_than_one_or_three_channels_are_refused(compose):
    with pytest.raises(ConfigError, match="pictures have 1 or 3 channels, and the network takes 2"):
        html.page(network_of(compose, "model.hidden=[8,8]", shape=(2, 8, 8)))


def test_without_a_browser_nothing_is_compared(small, monkeypatch, tmp_path):
    monkeypatch.setattr(html, "find", lambda: None)
    assert html.compare(tmp_path / "m.html", Network(small), np.zeros((1, 1, 8, 8), np.uint8)) is None


# The page in a browser.


@pytest.fixture(scope="module")
def page(compose, tmp_path_factory):
    """A page that is open: its functions compute any network."""
    path = tmp_path_factory.mktemp("page") / "m.html"
    html.write(network_of(compose, "model.hidden=[16,12]", about={"data": {"name": "digits"}}), path)
    with Browser(find(), path) as browser:
        yield browser


def base64_of(data):
    return base64.b64encode(data).decode("ascii")


def computed(page, packed, images):
    """The last value of each image, float32, as the page's functions compute it."""
    values = json.dumps([[value.kind, value.shape] for value in infer(packed)])
    content, given, size = base64_of(file.encode(packed)), base64_of(images.tobytes()), math.prod(packed.image_shape)
    found = page.evaluate(f"""(() => {{
        const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        const network = readNetwork(bytes('{content}'), {values}), images = bytes('{given}');
        const found = [];
        for (let at = 0; at < images.length; at += {size}) found.push(...network.scores(images.slice(at, at + {size})));
        return found.map((x) => Number.isNaN(x) ? "nan" : x === Infinity ? "inf" : x === -Infinity ? "-inf" : x);
    }})()""")
    return np.array([float(x) for x in found], np.float32).reshape(len(images), -1)


def check(page, packed, images):
    expected = reference.run(packed, images)[-1].astype(np.float32)
    assert np.array_equal(computed(page, packed, images), expected)


class TestInABrowser:
    pytestmark = browser_only

    def test_networks_of_the_product(self, page, kinds, compose):
        for overrides, shape in kinds.NETWORKS:
            device.make_reproducible(0)
            model = kinds.filled(models.build(compose(*overrides), shape, 10), shape)
            packed = pack(model, shape, kinds.MEAN[: shape[0]], kinds.STD[: shape[0]], {"classes": [str(k) for k in range(10)]})
            check(page, packed, kinds.some_images(shape))

    @pytest.mark.parametrize("share", [0.3, 0.95])
    def test_pruned_edges(self, page, kinds, compose, share):
        for overrides in (("model=mlp", "model.hidden=[20,12]"), (*kinds.CNN, "model.pad_value=0")):
            device.make_reproducible(0)
            model = kinds.filled(models.build(compose(*overrides), (3, 8, 8), 10), (3, 8, 8))
            for layer in model.modules():
                if isinstance(layer, BinaryLayer):
                    layer.prune(torch.rand_like(layer.weight) < share)
            packed = pack(model, (3, 8, 8), kinds.MEAN, kinds.STD, {"classes": [str(k) for k in range(10)]})
            check(page, packed, kinds.some_images((3, 8, 8)))

    def test_a_network_of_ones_own(self, page, kinds):
        torch.manual_seed(0)
        model = kinds.filled(kinds.Own(None), (3, 9, 10))
        check(page, pack(model, (3, 9, 10), kinds.MEAN, kinds.STD, {"classes": list("abcd")}), kinds.some_images((3, 9, 10)))

    def test_a_gate_to_the_last_bits(self, page, kinds):
        torch.manual_seed(0)
        model = kinds.filled(kinds.Own(torch.nn.Sigmoid()), (3, 9, 10))
        packed, images = pack(model, (3, 9, 10), kinds.MEAN, kinds.STD, {"classes": list("abcd")}), kinds.some_images((3, 9, 10))
        np.testing.assert_allclose(computed(page, packed, images), Network(packed).logits(images), rtol=1e-5, atol=1e-5)

    def test_gates_of_a_block_to_the_last_bits(self, page, kinds, compose):
        device.make_reproducible(0)
        model = kinds.filled(models.build(compose(*kinds.CNN, "block=real_to_binary"), (3, 9, 8), 10), (3, 9, 8))
        packed = pack(model, (3, 9, 8), kinds.MEAN, kinds.STD, {"classes": [str(k) for k in range(10)]})
        images = kinds.some_images((3, 9, 8))
        np.testing.assert_allclose(computed(page, packed, images), Network(packed).logits(images), rtol=1e-5, atol=1e-5)

    def test_convolutions_of_every_kind_and_geometry(self, page, kinds):
        rng = np.random.default_rng(1)
        several = itertools.product(
            kinds.KINDS, ("binary", "masked", "real"), ([1, 1], [3, 2]), ([1, 1], [1, 2]), (1, 2), (-1, 0, 1)
        )
        for kind, weight, stride, dilation, groups, pad_value in several:
            if kind == "bytes" and pad_value:
                continue
            shape, ops = kinds.start(rng, kind)
            k, outputs, padding = 4 // groups * 6, 6, [0, 0] if kind == "bytes" else [1, 3]
            settings = {"outputs": outputs, "kernel": [2, 3], "stride": stride, "padding": padding, "dilation": dilation}
            settings |= {"groups": groups, "pad_value": pad_value}
            tensors = {"weight": kinds.bits_of(rng, outputs, k)}
            if weight == "masked":
                tensors["mask"] = kinds.bits_of(rng, outputs, k)
                tensors["weight"] &= tensors["mask"]
            if weight == "real":
                tensors["weight"] = rng.normal(0, 1, (outputs, k)).astype(np.float32)
            if weight != "real" and kind in ("bytes", "bits"):
                tensors["offset"] = rng.integers(-9, 9, outputs).astype(np.int32)
            else:
                tensors["bias"] = rng.normal(0, 1, outputs).astype(np.float32)
            ops = (*ops, Op("conv2d", "c", (len(ops),), settings, tensors))
            rows = (5 + 2 * padding[0] - dilation[0] - 1) // stride[0] + 1
            columns = (6 + 2 * padding[1] - 2 * dilation[1] - 1) // stride[1] + 1
            check(page, kinds.with_scores(shape, ops, outputs * rows * columns), kinds.some_images(shape, 2))

    def test_many_channels(self, page):
        """Rows of more than 31 words, and channels that do not fill the last word."""
        rng = np.random.default_rng(3)
        for features, pad in ((2100, 0), (33, 1), (33, 0), (31, 1), (64, 1)):
            one = {"table": np.stack([np.arange(256) - rng.integers(0, 256)]).astype(np.float32)}
            tensors = {"weight": np.packbits(rng.integers(0, 2, (features, 1)), axis=1)}
            square = {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "pad_value": 0}
            wide = Op("conv2d", "w", (1,), {"outputs": features, **square}, tensors)
            sign = Op("sign", "s", (2,), {}, {"threshold": rng.normal(0, 50, features).astype(np.float32)})
            settings = {**square, "outputs": 4, "kernel": [3, 3], "padding": [1, 1], "pad_value": pad}
            rows = np.packbits(rng.integers(0, 2, (4, 9 * features)), axis=1)
            layer = Op("conv2d", "l", (3,), settings, {"weight": rows})
            ops = (Op("normalise", "n", (0,), {}, one), wide, sign, layer, Op("flatten", "f", (4,)))
            packed = Packed((1, 3, 3), ops, {"classes": [str(k) for k in range(36)]})
            check(page, packed, rng.integers(0, 256, (2, 1, 3, 3), dtype=np.uint8))

    @pytest.mark.parametrize("kind", ["bits", "whole", "real"])
    def test_pools_and_elementwise_operations(self, page, kinds, kind):
        rng = np.random.default_rng(2)
        numbers = lambda: rng.normal(0, 1, 4).astype(np.float32)  # noqa: E731
        shape, ops = kinds.start(rng, kind)
        last = len(ops)
        images = kinds.some_images(shape, 2)
        for (kernel, padding), stride, ceil in itertools.product(((3, 0), (3, 1), (2, 1), (4, 2)), (1, 2, 3, 5), (False, True)):
            for more in (None, False, True):
                settings = {"kernel": [kernel] * 2, "stride": [stride] * 2, "padding": [padding] * 2, "ceil": ceil}
                count = torch.nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)(torch.zeros(1, *shape)).numel()
                pool = ("max_pool", settings) if more is None else ("avg_pool", {**settings, "count_padding": more})
                check(page, kinds.with_scores(shape, (*ops, Op(pool[0], "p", (last,), pool[1])), count), images)
        row = {"kernel": [1, 6], "stride": [1, 6], "padding": [0, 0], "ceil": False, "count_padding": False}
        column = Op("avg_pool", "p", (last,), row)
        for more, count in (
            ((Op("affine", "a", (last,), {}, {"scale": numbers(), "shift": numbers()}),), 120),
            ((Op("relu", "a", (last,)),), 120),
            ((Op("prelu", "a", (last,), {}, {"slope": numbers()}),), 120),
            ((Op("clamp", "a", (last,), {}, {"limits": np.array([-0.7, 0.9], np.float32)}),), 120),
            ((Op("slice", "a", (last,), {"start": 1, "stop": 3}),), 60),
            ((Op("concatenate", "a", (last, last)),), 240),
            ((Op("pad", "a", (last,), {"rows": [0, 2], "columns": [1, 0], "pad_value": -1}),), 196),
            ((column, Op("add", "a", (last, last + 1))), 120),
            ((column, Op("multiply", "a", (last + 1, last))), 120),
        ):
            check(page, kinds.with_scores(shape, (*ops, *more), count), images)

    def test_a_real_sum_is_rounded_to_float64_and_then_to_float32(self, page):
        normalise = Op("normalise", "n", (0,), {}, {"table": np.ones((1, 256), np.float32)})
        rows = np.array([[2**24, 1, 2**-25], [2**24, 1, 2**-60], [2**24, 1, 0], [2**60, 1, -(2**60)]], np.float32)
        ops = (
            normalise,
            Op("flatten", "f", (1,)),
            Op("concatenate", "c", (2, 2, 2)),
            Op("linear", "h", (3,), {"outputs": 4}, {"weight": rows}),
        )
        packed = Packed((1, 1, 1), ops, {"classes": list("abcd")})
        assert computed(page, packed, np.zeros((1, 1, 1, 1), np.uint8)).tolist() == [[2**24 + 2, 2**24, 2**24, 1]]

    def test_infinities_do_no_harm(self, page):
        large = Op("normalise", "n", (0,), {}, {"table": np.full((1, 256), 3e38, np.float32)})
        grow = Op("linear", "g", (2,), {"outputs": 2}, {"weight": np.array([[1, 1], [-1, -1]], np.float32)})
        lose = Op("linear", "l", (3,), {"outputs": 2}, {"weight": np.array([[1, 1], [1, 0]], np.float32)})
        packed = Packed((1, 1, 2), (large, Op("flatten", "f", (1,)), grow, lose), {"classes": ["a", "b"]})
        assert not np.isfinite(computed(page, packed, np.zeros((2, 1, 1, 2), np.uint8))).any()

    def test_sums_are_those_of_fsum(self, page):
        rng = np.random.default_rng(0)
        rows = [(rng.normal(0, 1, 40) * 2.0 ** rng.integers(-60, 60, 40)).tolist() for _ in range(200)]
        rows += [[], [0.0], [1.0, 2**-53, 2**-80], [1.0, 2**-53], [-1.0, -(2**-53), -(2**-80)], [1e308, 1.0, -1e308], [0.1] * 10]
        found = page.evaluate(f"{json.dumps(rows)}.map((row) => exactSum(row))")
        assert found == [math.fsum(row) for row in rows]

    def test_the_proof_of_an_export(self, small, tmp_path):
        html.write(small, tmp_path / "m.html")
        images = np.random.default_rng(0).integers(0, 256, (359, 1, 8, 8), dtype=np.uint8)
        assert re.fullmatch(
            r"\w+ \d+: equal class scores on 359 of 359 images", html.compare(tmp_path / "m.html", Network(small), images)
        )

    def test_the_proof_stops_after_its_time(self, small, tmp_path, monkeypatch):
        monkeypatch.setattr(html, "SECONDS", 0.0)
        html.write(small, tmp_path / "m.html")
        assert html.compare(tmp_path / "m.html", Network(small), np.zeros((9, 1, 8, 8), np.uint8)).endswith(
            "0 of the first 0 of 9 images"
        )

    def test_the_browser_lets_the_page_ask_for_nothing_and_has_it_compute_in_a_worker(self, page):
        asked = "fetch('https://example.org').then(() => 'answered', () => 'refused')"
        assert page.evaluate(asked) == "refused"
        assert page.evaluate("fetch(location.href).then(() => 'answered', () => 'refused')") == "refused"
        image = "new Uint8Array(64).fill(200)"
        assert page.evaluate(f"compute({image}).then(({{ scores }}) => Array.from(scores))") == page.evaluate(
            f"Array.from(ownNetwork().scores({image}))"
        )
        assert page.evaluate("compute.length + String(compute).includes('worker.postMessage')") == 2

    def test_another_network_s_page_is_found_out(self, compose, small, tmp_path):
        device.make_reproducible(1)
        html.write(network_of(compose, "model.hidden=[12,16]"), tmp_path / "m.html")
        images = np.random.default_rng(0).integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
        with pytest.raises(ConfigError, match="gives other class scores than the network on 9 of 9 images"):
            html.compare(tmp_path / "m.html", Network(small), images)

    # Pictures.

    def test_pictures_are_resized_to_pillow_s_bytes(self, page, tmp_path):
        rng = np.random.default_rng(0)
        sizes = [
            (300, 200),
            (64, 48),
            (31, 97),
            (8, 8),
            (8, 20),
            (5, 3),
            (1, 1),
            (640, 8),
            (33, 32),
            (500, 501),
            (20, 36),
            (20, 400),
            (2, 9),
        ]
        every = itertools.product(sizes, (1, 3), ((8, 8), (32, 32), (28, 20)), FITS)
        for (w, h), channels, (width, height), fit in every:
            pixels = rng.integers(0, 256, (channels, h, w), dtype=np.uint8)
            flat = base64_of(np.ascontiguousarray(pixels.transpose(1, 2, 0)).tobytes())
            found = page.evaluate(f"""(() => {{
                const data = Uint8Array.from(atob('{flat}'), (c) => c.charCodeAt(0));
                const picture = {{ width: {w}, height: {h}, channels: {channels}, data }};
                return Array.from(planes(fitted(picture, {width}, {height}, '{fit}', facts.tall_first)));
            }})()""")
            assert found == refit(pixels, (height, width), fit).ravel().tolist(), (w, h, channels, width, height, fit)

    def test_files_are_decoded_to_pillow_s_bytes(self, page, tmp_path):
        """PNG: colours, grey, transparent, of a palette; JPEG, turned by its tag."""
        rng = np.random.default_rng(0)
        photo = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((70, 50))
        clear = photo.convert("RGBA")
        clear.putalpha(Image.fromarray(rng.integers(0, 256, (50, 70), dtype=np.uint8)))
        exif = Image.Exif()
        exif[0x0112] = 6
        files = [("a.png", photo, {}), ("b.png", photo.convert("L"), {}), ("c.png", clear, {}), ("d.png", photo.quantize(16), {})]
        files += [
            ("e.jpg", photo, {"quality": 90}),
            ("f.jpg", photo, {"quality": 85, "exif": exif, "subsampling": 0}),
            ("g.webp", photo, {"lossless": True}),
        ]
        for (name, image, options), channels in itertools.product(files, (1, 3)):
            image.save(tmp_path / name, **options)
            found = page.evaluate(f"""(async () => {{
                const data = Uint8Array.from(atob('{base64_of((tmp_path / name).read_bytes())}'), (c) => c.charCodeAt(0));
                return Array.from(planes(opaque(await decoded(new Blob([data])), {channels})));
            }})()""")
            expected = decode(tmp_path / name, None, channels == 1)
            assert found == expected.ravel().tolist(), name

    # People.

    def test_a_digit_drawn_with_the_mouse_and_with_keys(self, compose, tmp_path):
        html.write(network_of(compose, "model.hidden=[16,12]", about={"data": {"name": "digits"}}), tmp_path / "m.html")
        with Browser(find(), tmp_path / "m.html") as browser:
            x, y, side = browser.evaluate("(({ left, top, width }) => [left, top, width])(paper.getBoundingClientRect())")
            for kind, at in (("mousePressed", 0.2), ("mouseMoved", 0.5), ("mouseMoved", 0.8), ("mouseReleased", 0.8)):
                place = {"x": x + side / 2, "y": y + at * side, "button": "left", "buttons": 1, "clickCount": 1}
                browser.send("Input.dispatchMouseEvent", type=kind, **place)
            assert said(browser)
            pixels = np.array(browser.evaluate("Array.from(last.pixels)")).reshape(8, 8)
            assert (pixels[:, 3:5] > 128).all()  # an upright line in the middle
            assert (pixels[:, [0, 1, 6, 7]] == 0).all()
            browser.evaluate("clear()")
            assert browser.evaluate("seen.hidden")
            browser.evaluate("paper.focus()")
            for key, code in [(" ", "Space"), *[("ArrowDown", "ArrowDown")] * 4, (" ", "Space")]:
                browser.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=code)
            assert said(browser)
            assert browser.evaluate("Array.from(last.pixels)") == pixels.ravel().tolist()

    @pytest.mark.parametrize(
        ("shape", "data"),
        [((3, 16, 16), {}), ((3, 16, 20), {"name": "image_folder", "image_size": [16, 20], "fit": "pad"})],
    )
    def test_an_image_dropped_is_classified_as_bnn_predict_does(self, compose, tmp_path, shape, data):
        about = {"data": data}
        packed = network_of(compose, "model=cnn", "model.stages=[[8],[8]]", "model.hidden=[]", shape=shape, about=about)
        wanted = pictures.wanted(about, shape)
        assert wanted.fit == data.get("fit", "crop")
        html.write(packed, tmp_path / "m.html")
        rng = np.random.default_rng(0)
        with Browser(find(), tmp_path / "m.html") as browser:
            for size in ((40, 31), (16, 16), (9, 50), *rng.integers(5, 90, (17, 2)).tolist()):
                Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / "a.png")
                data = base64_of((tmp_path / "a.png").read_bytes())
                browser.evaluate(f"open(new File([Uint8Array.from(atob('{data}'), (c) => c.charCodeAt(0))], 'a.png'))")
                assert said(browser)
                (found,) = pictures.prepared([pictures.Picture("a.png", tmp_path / "a.png")], wanted)
                expected = Network(packed).logits(found.pixels)
                assert browser.evaluate("Array.from(last.scores)") == expected[0].tolist()
            browser.evaluate("open(new File(['no image'], 'notes.txt'))")
            assert browser.evaluate("said.textContent") == "notes.txt is no image that this browser reads."
            assert browser.evaluate(
                """new Promise((done) => { $("file").onclick = () => done("asks for a file"); $("drop").click(); })"""
            )

    def test_after_an_image_the_page_says_how_to_draw_again(self, compose, tmp_path):
        packed = network_of(compose, "model=mlp", "model.hidden=[16,16]", about={"data": {"name": "digits"}})
        html.write(packed, tmp_path / "m.html")
        Image.new("RGB", (20, 30), (200, 10, 10)).save(tmp_path / "a.png")
        data = base64_of((tmp_path / "a.png").read_bytes())
        with Browser(find(), tmp_path / "m.html") as browser:
            texts = "[$('input-title').textContent, $('clear').textContent, $('pad').hidden]"
            assert browser.evaluate(texts) == ["Draw a digit", "Clear", False]
            browser.evaluate(f"open(new File([Uint8Array.from(atob('{data}'), (c) => c.charCodeAt(0))], 'a.png'))")
            assert said(browser)
            assert browser.evaluate(texts) == ["Your image", "Draw a digit", True]
            assert "made grey" in browser.evaluate("$('hint').textContent")
            browser.evaluate("$('clear').click()")
            assert browser.evaluate(texts) == ["Draw a digit", "Clear", False]


def said(browser):
    """What a screen reader hears, when it is said."""
    return browser.evaluate("""new Promise((done) => {
        const look = () => busy || !$("said").textContent ? setTimeout(look, 5) : done($("said").textContent);
        look();
    })""")
