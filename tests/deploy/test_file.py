import json
import re
import warnings
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from fuzz_networks import small_networks

from bnn_train.deploy import reference
from bnn_train.deploy.file import DamagedFile, decode, encode, is_exported, read, stored, write
from bnn_train.deploy.packed import Op, Packed, Unfit

FORMAT = Path(__file__).parent.parent.parent / "docs" / "format.md"
ABOUT = {"classes": ["dark", "light"]}


@pytest.fixture
def networks():
    return small_networks()


def example():
    """The network that docs/format.md computes by hand."""
    weight, mask = (np.array(rows, np.uint8)[:, None] for rows in ([0xA0, 0xC0, 0x10], [0xF0, 0xF0, 0xB0]))
    head = np.array([[0.5, -1, 0.25], [1, 2, -0.5]], np.float32)
    ops = (
        Op("flatten", "flatten", (0,)),
        Op("linear", "hidden", (1,), {"outputs": 3}, {"weight": weight, "mask": mask}),
        Op("sign", "sign", (2,), {}, {"threshold": np.array([50, 61, -110], np.int16), "flip": np.array([[0x20]], np.uint8)}),
        Op("linear", "output", (3,), {"outputs": 2}, {"weight": head, "bias": np.array([0.125, -1], np.float32)}),
    )
    return Packed((1, 2, 2), ops, ABOUT)


def taken_apart(content):
    """(header as a dict, its __metadata__, the network in it, the bytes of the tensors)."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    metadata = header.pop("__metadata__")
    return header, metadata, json.loads(metadata["bnn_train"]), content[end:]


def put_together(header, network, data, **metadata):
    """The file of these parts, with its true checksum."""
    entry = {"sha256": "0" * 64, "bnn_train": json.dumps(network), **metadata}
    text = json.dumps({"__metadata__": entry, **header}).encode("ascii")
    content = len(text).to_bytes(8, "little") + text + data
    return content.replace(b"0" * 64, sha256(content).hexdigest().encode("ascii"), 1)


def assert_same(found, packed):
    assert found.image_shape == packed.image_shape
    assert found.about == packed.about
    assert len(found.ops) == len(packed.ops)
    for a, b in zip(found.ops, packed.ops, strict=True):
        assert (a.kind, a.name, a.inputs, a.settings) == (b.kind, b.name, b.inputs, b.settings)
        assert set(a.tensors) == set(b.tensors)
        for name, array in b.tensors.items():
            assert a.tensors[name].dtype == array.dtype
            assert a.tensors[name].shape == array.shape
            assert a.tensors[name].tobytes() == array.tobytes()  # bit for bit: -0 and the infinities too


def test_the_example_of_the_format_page_is_what_is_written():
    content = encode(example())
    end = 8 + int.from_bytes(content[:8], "little")
    page = FORMAT.read_text(encoding="utf-8")
    header = re.search(r"```\n(\{.*\})\n```", page)[1]
    assert content[8:end].decode("ascii") == header + 4 * " "
    assert content[:8].hex(" ") == "90 03 00 00 00 00 00 00"
    table = re.findall(r"^\| `\d\.\w+` \| `([0-9a-f ]+)` \|", page, re.MULTILINE)
    assert content[end:].hex(" ") == " ".join(table)


def test_the_example_of_the_format_page_gives_the_sums_of_the_page():
    values = reference.run(decode(encode(example())), np.array([[[[200, 10], [30, 120]]]], np.uint8))
    assert [value[0].tolist() for value in values[1:]] == [[200, 10, 30, 120], [100, 60, -110], [1, -1, -1], [1.375, -1.5]]


def test_every_operation_comes_back_bit_for_bit(networks):
    for packed in networks:
        assert_same(decode(encode(packed)), packed)


def test_a_network_is_written_and_read(tmp_path, networks):
    for packed in [*networks, example()]:
        write(packed, tmp_path / "m.bnn")
        assert_same(read(tmp_path / "m.bnn"), packed)
    assert [path.name for path in tmp_path.iterdir()] == ["m.bnn"]


def test_zeros_and_infinities_keep_their_bits():
    smallest, threshold = np.array([[1e-45]], np.float32), np.array([-np.inf], np.float32)
    ops = (
        Op("normalise", "n", (0,), {}, {"table": np.full((1, 256), -0.0, np.float32)}),
        Op("sign", "s", (1,), {}, {"threshold": threshold}),
        Op("flatten", "f", (2,)),
        Op("linear", "l", (3,), {"outputs": 1}, {"weight": smallest, "bias": np.array([-0.0], np.float32)}),
    )
    packed = Packed((1, 1, 1), ops, {"classes": ["only"]})
    assert_same(decode(encode(packed)), packed)


def test_any_library_of_safetensors_loads_the_file(tmp_path, networks):
    for packed in networks:
        write(packed, tmp_path / "m.bnn")
        loaded = safetensors.numpy.load_file(tmp_path / "m.bnn")
        expected = {f"{i}.{name}": array for i, op in enumerate(stored(packed)) for name, array in op.tensors.items()}
        assert set(loaded) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(loaded[name], array, strict=True)
        with safetensors.safe_open(tmp_path / "m.bnn", "np") as file:
            assert set(file.metadata()) == {"bnn_train", "sha256"}


def test_every_tensor_begins_at_a_multiple_of_its_numbers_size(networks):
    for packed in networks:
        content = encode(packed)
        header, *_, data = taken_apart(content)
        entries = sorted(header.values(), key=lambda entry: entry["data_offsets"])
        sizes = [{"U8": 1, "I16": 2, "I32": 4, "F32": 4}[entry["dtype"]] for entry in entries]
        assert sizes == sorted(sizes, reverse=True)
        assert all(entry["data_offsets"][0] % size == 0 for entry, size in zip(entries, sizes, strict=True))
        assert (len(content) - len(data)) % 8 == 0


def test_the_same_network_is_the_same_file(networks):
    for packed in networks:
        assert encode(packed) == encode(decode(encode(packed)))


def test_the_checksum_is_that_of_the_page():
    content = encode(example())
    checksum = taken_apart(content)[1]["sha256"]
    assert sha256(content.replace(checksum.encode(), b"0" * 64)).hexdigest() == checksum


def test_arrays_that_do_not_lie_in_a_row_are_written_right():
    square = np.arange(12, dtype=np.float32).reshape(3, 4)
    for weight in (square.T, square[:, ::2].T, square[::-1].T, np.broadcast_to(np.float32(2), (4, 3))):
        head = Op("linear", "head", (1,), {"outputs": len(weight)}, {"weight": weight})
        packed = Packed((3, 1, 1), (Op("flatten", "flatten", (0,)), head), {"classes": ["x"] * len(weight)})
        np.testing.assert_array_equal(decode(encode(packed)).ops[1].tensors["weight"], weight, strict=True)


def test_what_is_known_of_the_network_comes_back():
    figures = {"test_accuracy": 0.975, "test_loss": float("nan"), "best": [float("inf"), 1e-300]}
    data = {"image_size": None, "grayscale": False, "mean": [0.1307]}
    about = {
        "classes": ["Käse", "猫 \u200c\U0001f63a"],
        "figures": figures,
        "epoch": 20,
        "seed": 2**64 - 1,
        "data": data,
        "run": "C:\\new\\runs",
    }
    known = decode(encode(Packed((1, 2, 2), example().ops, about))).about
    assert known == {**about, "figures": {"test_accuracy": 0.975, "test_loss": None, "best": [None, 1e-300]}}


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"classes": ["one"]},
        {"classes": ["a", 2]},
        {"classes": "ab"},
        {"classes": ["a", "b\x1b[2J"]},
        {"classes": ["a", "b\udcff"]},
        {"classes": ["a", "b\x85"]},
        {**ABOUT, "image_shape": [1, 4, 1]},
        {**ABOUT, "epoch": 1.5},
        {**ABOUT, "data": None},
        {**ABOUT, "run": "line\nbreak"},
    ],
)
def test_what_is_known_of_a_network_must_fit_it_before_it_is_written(tmp_path, about):
    with pytest.raises(Unfit):
        write(Packed((1, 2, 2), example().ops, about), tmp_path / "m.bnn")
    assert not list(tmp_path.iterdir())


def refusal(path, content=None):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedFile) as error:
        read(path, "network")
    line = str(error.value)
    start = f"network={path}: "
    assert line.startswith(start)
    assert line.isprintable()
    assert error.value.exit_code == 2
    return line.removeprefix(start)


CUT, CHECKSUM = "is no exported network: it is cut short, damaged or foreign", "is damaged or cut short: its checksum does not fit"


def test_a_file_that_was_cut_anywhere_is_refused(tmp_path):
    content = encode(example())
    assert refusal(tmp_path / "m.bnn", b"") == "is empty"
    end = 8 + int.from_bytes(content[:8], "little")
    for length in range(1, len(content)):
        assert refusal(tmp_path / "m.bnn", content[:length]).startswith(CUT if length < end else CHECKSUM)


def test_a_file_that_was_lengthened_is_refused(tmp_path):
    assert refusal(tmp_path / "m.bnn", encode(example()) + b"\0").startswith(CHECKSUM)


def test_a_file_of_which_one_bit_changed_is_refused():
    content = encode(example())
    for place in range(len(content)):
        for bit in (1, 1 << place % 8, 0x80):
            changed = bytearray(content)
            changed[place] ^= bit
            with pytest.raises(Unfit):
                decode(bytes(changed))


def test_what_is_no_exported_network_is_told_so(tmp_path):
    path = tmp_path / "m.bnn"
    foreign = safetensors.numpy.save({"weight": np.zeros(3, np.float32)})
    named = safetensors.numpy.save({"weight": np.zeros(3, np.float32)}, {"format": "pt"})
    checkpoint = "is a checkpoint or another zip file, not an exported network; bnn-export makes one of it"
    assert refusal(path, b"PK\x03\x04" + bytes(100)) == checkpoint
    assert refusal(path, b"seed: 1\nmodel: mlp\n" * 20) == CUT
    assert refusal(path, b"\x89PNG\r\n\x1a\n" + bytes(100)) == CUT
    for content in (foreign, named):
        assert refusal(path, content) == "is a safetensors file, but no network that bnn-export wrote"
    assert refusal(tmp_path / "none.bnn") == "cannot be read (no such file or directory)"
    assert refusal(tmp_path) == "is a folder, not an exported network"


def test_a_foreign_file_is_refused_without_being_read(tmp_path):
    path = tmp_path / "m.bnn"
    with open(path, "wb") as file:
        file.write(b"\xff" * 9)
        file.truncate(2**40)  # a hole: a terabyte that no memory holds
    assert refusal(path) == CUT


def test_a_newer_format_asks_for_a_newer_program(tmp_path):
    header, _, network, data = taken_apart(encode(example()))
    newer = put_together(header, {**network, "format": 2}, data)
    assert refusal(tmp_path / "m.bnn", newer) == "has format 2, but this version reads 1: use a newer bnn-train"
    for version in (True, 1.0, "1", None):
        wrong = put_together(header, {**network, "format": version}, data)
        assert refusal(tmp_path / "m.bnn", wrong) == "is damaged: its format cannot be read"


def test_a_file_that_another_program_wrote_by_the_page_is_read():
    header, _, network, data = taken_apart(encode(example()))
    other = dict(reversed(header.items()))
    assert_same(decode(put_together(other, json.loads(json.dumps(network, indent=1)), data, tool="mine")), example())


@pytest.mark.parametrize(
    ("entry", "changes"),
    [
        ("1.weight", {"data_offsets": [37, 40]}),
        ("1.weight", {"data_offsets": [41, 44]}),
        ("1.weight", {"data_offsets": [41, 38]}),
        ("1.weight", {"data_offsets": [-3, 0]}),
        ("1.weight", {"data_offsets": [38.0, 41]}),
        ("1.weight", {"data_offsets": [38, 41, 41]}),
        ("1.weight", {"data_offsets": [2**63, 2**63 + 3]}),
        ("1.weight", {"shape": [3]}),
        ("1.weight", {"shape": [-3, -1]}),
        ("1.weight", {"shape": [2**62, 4]}),
        ("1.weight", {"shape": [True, 3]}),
        ("1.weight", {"shape": "31"}),
        ("1.weight", {"dtype": "I8"}),
        ("1.weight", {"dtype": ["U8"]}),
        ("3.bias", {"dtype": "I32"}),
        ("3.bias", {"dtype": "I16", "shape": [4]}),
        ("2.threshold", {"dtype": "U8", "shape": [6]}),
        ("9.weight", {"dtype": "U8", "shape": [0], "data_offsets": [45, 45]}),
        ("1.bias", {"dtype": "F32", "shape": [0], "data_offsets": [45, 45]}),
        ("0.weight", {"dtype": "F32", "shape": [0], "data_offsets": [45, 45]}),
        ("01.mask", {"dtype": "U8", "shape": [0], "data_offsets": [45, 45]}),
        ("../weight", {"dtype": "U8", "shape": [0], "data_offsets": [45, 45]}),
    ],
)
def test_tensors_that_contradict_the_file_are_refused_though_the_checksum_fits(entry, changes):
    header, _, network, data = taken_apart(encode(example()))
    header[entry] = {**header.get(entry, {}), **changes}
    with pytest.raises(Unfit):
        decode(put_together(header, network, data))


def test_a_checksum_that_stands_there_twice_is_none():
    header, _, network, data = taken_apart(encode(example()))
    twice = put_together(header, network, data)
    checksum = taken_apart(twice)[1]["sha256"]
    with pytest.raises(Unfit, match="checksum"):
        decode(twice.replace(b'"sha256"', b'"SHA256"'))
    with pytest.raises(Unfit, match="not there once"):
        decode(put_together(header, {**network, "more": checksum}, data, sha256=checksum))


def test_reading_warns_of_nothing_and_gives_arrays_that_nobody_can_change(networks):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(encode(networks[0]))
    assert not any(array.flags.writeable for op in found.ops for array in op.tensors.values())


def test_an_exported_file_is_known_by_its_name(tmp_path):
    (tmp_path / "run.bnn").mkdir()
    assert is_exported(Path("m.bnn"))
    assert is_exported(Path("M.BNN"))
    assert not is_exported(Path("checkpoints/last.pt"))
    assert not is_exported(tmp_path / "run.bnn")
