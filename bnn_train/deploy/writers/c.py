"""The network as one C99 header: constants, static buffers, and two functions, for desktops and small processors."""

import hashlib
import re
from pathlib import Path

from bnn_train import files
from bnn_train.deploy import file
from bnn_train.deploy.packed import Packed
from bnn_train.deploy.writers.c_compare import compare, prefix_of
from bnn_train.deploy.writers.c_operations import OPERATIONS
from bnn_train.deploy.writers.c_products import product
from bnn_train.deploy.writers.c_program import Program
from bnn_train.errors import ConfigError

__all__ = ["SUFFIX", "built", "compare", "prefix_of", "source", "write"]
SUFFIX = ".h"
_TAKEN = {
    *("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math", "memory", "setjmp"),
    *(
        "signal",
        "size",
        "stdalign",
        "stdarg",
        "stdatomic",
        "stdbool",
        "stddef",
        "stdint",
        "stdio",
        "stdlib",
        "stdnoreturn",
        "string",
    ),
    *("strings", "tgmath", "threads", "time", "uchar", "unistd", "wchar", "wctype"),
}


def write(packed: Packed, path: Path) -> None:
    """Raises ConfigError where it cannot be written, or where its name is one of C's own headers, which it would stand before."""
    if path.stem.lower() in _TAKEN:
        raise ConfigError("--output", path.name, "is a name of C's own headers or macros; choose another")
    files.write_text(source(packed, prefix_of(path)), path)


def built(packed: Packed) -> Program:
    """All its calls."""
    program = Program(packed)
    for i, op in enumerate(program.ops):
        if op.kind == "sign" and op.inputs[0] in program.fused:
            continue  # its product has drawn it
        inputs = [program.values[k] for k in op.inputs]
        if op.kind in ("linear", "conv2d"):
            product(program, i, op, inputs[0], program.known[i + 1])
        else:
            program.values[i + 1] = OPERATIONS[op.kind](program, i, op, program.known[i + 1], *inputs)
    return program


def source(packed: Packed, prefix: str = "m_") -> str:
    """The header's text."""
    program = built(packed)
    channels, height, width = packed.image_shape
    classes = list(packed.about["classes"])
    calls, sizes = program.finish()
    buffers = 8 * sizes["words"] + 4 * sizes["reals"] + 4 * sizes["wholes"] + sizes["pixels"]
    libm = "M_EXP" in program.template.text()
    mark = f"0x{hashlib.sha256(file.encode(packed)).hexdigest()[:8]}UL"
    includes = ["float.h", "stddef.h", "stdint.h", "string.h", *["math.h"] * (libm or program.constants.infinite)]
    text = f"""/* A binary neural network, written by bnn-export. C99 or C++, no dependencies{", but libm (-lm)" if libm else ""}.
   {program.constants.bytes} bytes of constants (weights, thresholds), {buffers} bytes of static buffers.

   int m_predict(const uint8_t *pixels)                  the class, from 0
   void m_scores(const uint8_t *pixels, float *scores)   the M_CLASSES class scores
   const char *m_class(int i)                            its name

   pixels: M_CHANNELS * M_HEIGHT * M_WIDTH, channels first (red, green, blue), each row by row from the top, 0 to 255.
   Include it in one file; one call at a time. Before it may stand:

   #define M_WORD_BITS 32       words of bits; else those of the machine, 32 or 64
   #define M_POPCOUNT_TABLE     bits are counted by a table; else by the compiler's way, where it has one
   #define M_FLOAT              real numbers are added as float; else as double. Faster on small processors; scores then differ
                                in their last digits, and where a sign hangs on them by more */
#if defined(M_HEADER) && M_HEADER != {mark}
#error "another network's header has the same names: give one of the two files another name"
#endif
#ifndef M_HEADER
#define M_HEADER {mark}

"""
    text += "".join(f"#include <{name}>\n" for name in includes)
    text += f"""
#define M_CHANNELS {channels}
#define M_HEIGHT {height}
#define M_WIDTH {width}
#define M_CLASSES {len(classes)}

typedef {program.threshold_type} m_threshold;

{program.template.text()}
"""
    text += "\n".join(program.constants.text) + "\n\n"
    for name, kind, factor in (("words", "m_word", " * (64 / M_WORD_BITS)"), ("reals", "float", ""), ("wholes", "int32_t", ""),
                               ("pixels", "uint8_t", "")):  # fmt: skip
        if sizes[name]:
            text += f"static {kind} m_{name}[{sizes[name]}{factor}];\n"
    lines = "\n".join(f"    {line}" for line in calls)
    text += f"""
static inline const {program.scores.type} *m_run(const uint8_t *pixels)
{{
{lines}
    return {program.scores};
}}

static inline void m_scores(const uint8_t *pixels, float *scores)
{{
    const {program.scores.type} *found = m_run(pixels);
    size_t i;
    for (i = 0; i < M_CLASSES; i++)
        scores[i] = (float)found[i];
}}

static inline int m_predict(const uint8_t *pixels)
{{
    const {program.scores.type} *found = m_run(pixels);
    int i, best = 0;
    for (i = 1; i < M_CLASSES; i++)
        if ((float)found[i] > (float)found[best])
            best = i;
    return best;
}}

static inline const char *m_class(int i)
{{
    static const char *const names[M_CLASSES] = {{
NAMES
    }};
    return i >= 0 && i < M_CLASSES ? names[i] : "";
}}

#endif
"""
    text = re.sub(r"\bm_(?=\w)", prefix, text)
    text = re.sub(r"\bM_(?=[A-Z])", prefix.upper(), text)
    return text.replace("NAMES\n", "".join(f"        {_quoted(name)},\n" for name in classes))


def _quoted(name: str) -> str:
    """As a string of C, whatever is in it; octal numbers have three digits, so what comes behind them is no part of them."""
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in str(name).encode("utf-8"))
    return f'"{"".join(plain)}"'
