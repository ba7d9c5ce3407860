"""What a network may be at most, so that a small file cannot ask for a machine's whole memory or for days."""

from collections.abc import Sequence

from bnn_train.deploy.packed import Op, Packed, Unfit, Value

MOST_HEADER = 2**22  # bytes
MOST_OPERATIONS = 4096
MOST_NAME = 1000  # characters
MOST_ELEMENTS = 2**26  # numbers of one value of one image, what a padding puts around it included
LARGEST_SUM = 2**29  # of whole numbers: its product with a float32 number is exact in float64
_MOST_IN_ALL = 2**28  # numbers of all values of one image
_MOST_UNDER_KERNELS = 2**29  # numbers that lie under all places of one operation's kernel, for one image
_MOST_PRODUCTS = 2**38  # for one image


def check(packed: Packed, values: Sequence[Value]) -> None:
    """Raises Unfit for a network that is beyond the limits."""
    sizes = sum(value.size for value in values)
    if sizes > _MOST_IN_ALL:
        raise Unfit(f"makes {sizes:,} numbers of an image, where {_MOST_IN_ALL:,} are allowed")
    products = 0
    for op, result in zip(packed.ops, values[1:], strict=True):
        padded, under, each = _cost(op, values[op.inputs[0]], result)
        if padded > MOST_ELEMENTS or under > _MOST_UNDER_KERNELS:
            raise Unfit(f"operation {op.name[:80]!r} has a kernel or a padding that is too large")
        products += under * each
    if products > _MOST_PRODUCTS:
        raise Unfit(f"needs {products:,} products for an image, where {_MOST_PRODUCTS:,} are allowed")


def _cost(op: Op, x: Value, result: Value) -> tuple[int, int, int]:
    """(numbers of the padded input, numbers under its kernel at all places, products of each of these)."""
    if op.kind == "linear":
        return x.size, x.size, result.size
    if "kernel" not in op.settings:
        return x.size, 0, 0
    kernel, stride, padding, dilation = (op.settings.get(name, (1, 1)) for name in ("kernel", "stride", "padding", "dilation"))
    padded, area, places = x.shape[0], kernel[0] * kernel[1], result.shape[1] * result.shape[2]
    for size, count, k, s, p, d in zip(x.shape[1:], result.shape[1:], kernel, stride, padding, dilation, strict=True):
        padded *= max(size + 2 * p, (count - 1) * s + d * (k - 1) + 1)
    each = result.shape[0] // op.settings["groups"] if op.kind == "conv2d" else 1
    return padded, x.shape[0] * area * places, each
