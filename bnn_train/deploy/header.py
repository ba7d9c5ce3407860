"""The JSON texts of an exported file, read within bounds that Python's own reader does not have."""

import json
import re
from typing import Any, NoReturn

import numpy as np

from bnn_train.deploy.packed import Unfit

DEEPEST = 32  # brackets within brackets
_LONGEST_NUMBER = 32  # characters
_STEPS = bytes({**dict.fromkeys(b"[{", 1), **dict.fromkeys(b"]}", 255)}.get(byte, 0) for byte in range(256))
_CONTROL_ESCAPED = re.compile(rb"\\(?:[bfnrt]|u00(?:[0189]|7f))", re.IGNORECASE)
_CONTROL = re.compile(rb"\x7f|\xc2[\x80-\x9f]")


def parsed(text: bytes | str, for_people: bool = False) -> Any:
    """Plain values; numbers are finite, keys of an object different, strings whole Unicode. Raises Unfit.

    for_people: strings hold no control characters either, which would steer the terminal that shows them.
    """
    try:
        content = text.encode("utf-8") if isinstance(text, str) else text
        if _depth(content) > DEEPEST:
            raise ValueError("too deep")
        value = json.loads(
            content.decode("utf-8"), parse_constant=_refused, parse_int=_whole, parse_float=_real, object_pairs_hook=_object
        )
        if rb"\ud" in content.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails for half a pair of surrogates
    except ValueError:
        raise Unfit("is no exported network: its header is damaged") from None
    if for_people and (_CONTROL_ESCAPED.search(content.replace(rb"\\", b"")) or _CONTROL.search(content)):
        raise Unfit("holds a name with a control character")
    return value


def _depth(content: bytes) -> int:
    """How deep brackets stand within brackets, in one pass whatever the text is."""
    plain = content.replace(rb"\\", b"").replace(rb"\"", b"")
    in_string = np.logical_xor.accumulate(np.frombuffer(plain, np.uint8) == ord('"'))
    steps = np.frombuffer(plain.translate(_STEPS), np.int8)
    return int(np.cumsum(np.where(in_string, 0, steps), dtype=np.int32).max(initial=0))


def _refused(text: str) -> NoReturn:
    raise ValueError(text)


def _whole(text: str) -> int:
    return int(text) if len(text) <= _LONGEST_NUMBER else _refused(text)


def _real(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST_NUMBER else _refused(text)
    return value if abs(value) <= 1e308 else _refused(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _refused("a key twice")
