"""What cannot be read as key=value or as a flag, in words, with what can be typed in its place."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from bnn_train.cli import keys, own_files
from bnn_train.config.root import WHOLE

# Signs that word processors and chat windows put in the place of what was typed, and what they stand for; the shell removes quotes.
LOOK_ALIKES = {
    **dict.fromkeys("“”„‟«»‘’‚‛", ""),
    **dict.fromkeys("−–—‐‑‒", "-"),
    **dict.fromkeys("\u00a0\u2009\u202f\u200b\ufeff", ""),
    **{"＝": "=", "，": ",", "．": ".", "［": "[", "］": "]", "：": ":"},
}


def reads(override: str) -> bool:
    """Whether Hydra's grammar takes it."""
    try:
        OverridesParser.create().parse_override(override)
    except (HydraException, ValueError, TypeError):
        return False
    return True


def override(typed: str, arguments: Sequence[str], schema: type) -> str:
    """The line for an argument that Hydra's grammar refuses."""
    odd = [sign for sign in typed if sign in LOOK_ALIKES]
    if odd:
        mended = "".join(LOOK_ALIKES.get(sign, sign) for sign in typed)
        what = "no quotes of a shell" if not any(LOOK_ALIKES[sign] for sign in odd) else "not the signs of a keyboard"
        if not reads(mended):
            return f"{typed}: {' '.join(dict.fromkeys(odd))} are {what}; type plain ones"
        return f"{typed}: holds {' '.join(dict.fromkeys(odd))}, {what}; type {shlex.quote(mended)}"
    if "=" not in typed:
        return _without_equals(typed, arguments, schema)
    key, value = (part.strip() for part in typed.split("=", 1))
    if typed != f"{key}={value}" and reads(f"{key}={value}"):
        return f"{typed}: holds a space; type {shlex.quote(f'{key}={value}')}"
    following = _following(typed, arguments)
    for mended in _mended(key, value, following):
        if reads(mended) and _is_meant(mended, schema):
            why = "cannot be read"
            if " " in value or (_open(value) > 0 and following):
                why = "a space ends a value"
            elif _open(value):
                why = "the brackets do not match"
            elif re.search(r"^,|,,|\[,|,\]|,$", value):
                why = "has a comma too many"
            return f"{typed}: {why}; type {shlex.quote(mended) if ' ' in mended else mended}"
    must_be = keys.value_must_be(key.lstrip("+"), schema)
    if _open(value):
        return f"{typed}: the brackets do not match" + (f"; {must_be}" if must_be else "")
    if must_be:
        return f"{typed}: {must_be}"
    meant = keys.meant(key, schema)
    if meant and not reads(f"{key}=1"):
        return f"{typed}: is not key=value; {meant}"
    quoted = f'{key}="{value}"'
    if '"' not in value and reads(quoted):
        return f"{typed}: has signs of Hydra's grammar; as text it is typed {shlex.quote(quoted)}"
    return f"{typed}: is not key=value; --help lists the keys"


def _following(typed: str, arguments: Sequence[str]) -> list[str]:
    """What was typed after it, up to the next key=value or flag."""
    rest = list(arguments)[list(arguments).index(typed) + 1 :] if typed in arguments else []
    end = next((i for i, argument in enumerate(rest) if "=" in argument or argument.startswith("-")), len(rest))
    return rest[:end]


def _mended(key: str, value: str, following: Sequence[str]) -> list[str]:
    """What may have been meant, the likeliest first."""
    joined = [value]
    for part in following:
        joined.append(joined[-1] + ("" if joined[-1][-1:] in ",[{:" else ",") + part)
    closed = [text for text in joined if not _open(text)]
    candidates = closed[:1] if _open(value) else joined[::-1] if value.endswith(",") else [value]
    if _open(value) > 0:
        candidates.append(value.rstrip(",") + "]" * _open(value))
    elif _open(value) < 0:
        candidates.append(value.rstrip("]"))
    texts = []
    for text in candidates:
        plain = re.sub(r",(?=[,\]])|(?<=\[),+|,+$|^,+", "", text)
        parted = re.sub(r"\s+", "", re.sub(r"(?<=\w)\s+(?=\w)", ",", plain))
        texts += [text, plain, parted, plain.strip("();=")]
        if re.fullmatch(r"\(.*\)", plain):
            texts.append(f"[{plain[1:-1]}]")
    return [f"{key}={text}" for text in dict.fromkeys(texts)]


def _is_meant(mended: str, schema: type) -> bool:
    """Whether a whole value is left, and one of the kind that the key takes: a list where a list belongs, else none."""
    key, _, value = mended.partition("=")
    must_be = keys.value_must_be(key.lstrip("+"), schema)
    if not value or value == "[]" or ("number" in must_be and not re.fullmatch(r"[\[\]\d.,+\-eE_]+", value)):
        return False
    return not must_be or must_be.startswith("must be a list") == value.startswith("[")


def _open(value: str) -> int:
    """How many brackets stay open."""
    return value.count("[") + value.count("{") - value.count("]") - value.count("}")


def _without_equals(typed: str, arguments: Sequence[str], schema: type) -> str:
    following = list(arguments)[list(arguments).index(typed) + 1 :] if typed in arguments else []
    if following and following[0].startswith("="):
        value = following[0][1:] or (following[1] if len(following) > 1 else "VALUE")
        return f"{' '.join([typed, *following[:2]])}: has spaces around the =; type {typed}={value}"
    name = typed.strip("[],")
    if name in keys.groups_of(schema) or name in WHOLE:
        there = keys.options(name, [keys.CONFIGS, *own_files.folders(arguments)])
        if there:
            return f"{typed}: needs an option, {typed}=NAME with one of {', '.join(there)}"
    if name in keys.known(schema):
        return f"{typed}: needs a value, {typed}=VALUE; it {keys.value_must_be(name, schema)}"
    pair = re.fullmatch(r"([\w.]+)\s*[: ]\s*(.+)", typed)
    if pair and keys.value_must_be(pair[1], schema):
        return f"{typed}: needs an = after the key; type {shlex.quote(f'{pair[1]}={pair[2]}')}"
    place = list(arguments).index(typed) if typed in arguments else 0
    before = arguments[place - 1] if place else ""
    if "=" in before and keys.value_must_be(before.partition("=")[0], schema) == "must be a path":
        return f"{typed}: is not key=value; a space ends a value: type {shlex.quote(f'{before} {typed}')}"
    groups = [group for group in [*keys.groups_of(schema), *WHOLE] if typed in keys.options(group, [keys.CONFIGS])]
    if groups:
        return f"{typed}: is not key=value; did you mean {' or '.join(f'{group}={typed}' for group in groups)}?"
    if Path(typed).expanduser().exists():
        return f"{typed}: is not key=value; a path needs its key, as in {shlex.quote(f'data.root={typed}')}"
    return f"{typed}: is not key=value; --help lists the keys"


class FlagError(HydraException):
    """A flag that there is not, or one without its value."""


def flag(message: str, arguments: Sequence[str], schema: type) -> FlagError:
    """What argparse says of the flags, in a line."""
    unknown = re.match(r"unrecognized arguments: (.*)", message)
    if unknown:
        typed = unknown[1].split()[0]
        key, equals, value = typed.lstrip("-").partition("=")
        rest = list(arguments)[list(arguments).index(typed) + 1 :] if typed in arguments else []
        if not equals and rest and not rest[0].startswith("-") and "=" not in rest[0]:
            value, typed = rest[0], f"{typed} {rest[0]}"
        name = key.replace("-", "_")
        if name in [*keys.known(schema), *keys.groups_of(schema)]:
            plain = f"{name}={value or 'VALUE'}"
            return FlagError(f"{typed}: keys are typed without dashes: {shlex.quote(plain)}")
        meant = keys.meant(name, schema)
        if value and " or " not in meant:
            meant = meant.replace("?", f"={value}?")
        return FlagError(f"{typed}: there is no such flag; {meant or 'a key is typed as key=value, without dashes'}")
    about = re.match(r"argument ([\w/-]+): (.*)", message)
    if about:
        said = about[2].replace("expected one argument", "needs a value after it").replace("invalid choice: ", "")
        return FlagError(f"{about[1].split('/')[0]}: {said}")
    return FlagError(message.replace("ambiguous option: ", ""))
