// Runs what needs no torch on pyodide's Python: node pyodide.mjs REPOSITORY WHEELS (scripts/matrix.sh)
import { loadPyodide } from "pyodide";

const [repository, wheels] = process.argv.slice(2);
const python = await loadPyodide();
for (const [place, root] of [["/repository", repository], ["/wheels", wheels]]) {
  python.FS.mkdirTree(place);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, place);
}
const code = await python.runPythonAsync(`
import contextlib, glob, io, os, sys, zipfile

for wheel in glob.glob("/wheels/*.whl"):
    zipfile.ZipFile(wheel).extractall("/packages")
sys.path[:0] = ["/packages", "/repository"]
sys.dont_write_bytecode = True
os.makedirs("/work"), os.chdir("/work")
from bnn_train.cli import train

def command(*arguments):
    "(exit code, what it printed) of bnn-train ARGUMENTS."
    sys.argv = ["bnn-train", *arguments]
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            train.main()
        except SystemExit as end:
            code = end.code or 0
    return code, out.getvalue()

assert "== Useful commands ==" in command("--help")[1]
assert "model.hidden=[512,512,512]" in command("model=mlp", "--help")[1]
code, text = command("--cfg", "job", "ste=tanh")  # through Hydra's own main, whose argparse help fails on 3.14
assert code == 0 and "name: tanh" in text, text
code, text = command("trainer.epochs=0")
assert code == 2 and "error: trainer.epochs=0: must be a whole number of at least 1" in text, text

os.chdir("/repository")
import pytest
rooms = {  # those that start no processes and draw nothing
    "config": ["notes"],
    "report": ["advice", "grid", "jobs", "lines", "sweep"],
    "cli": ["arguments", "compose", "hydra_errors", "own_files", "searches"],
}
tests = [f"tests/{room}/test_{name}.py" for room, names in rooms.items() for name in names]
with contextlib.redirect_stdout(io.StringIO()) as out:
    code = pytest.main(["-p", "no:cacheprovider", "-o", "filterwarnings=", *tests])
lines = out.getvalue().strip().splitlines()
failed = [line for line in lines if line.startswith("FAILED") or line.startswith("E  ")]
print(*failed, sep="\\n")
print("Python", sys.version.split()[0], "help, composing and refusing work;", lines[-1])
1 if failed else 0
`);
process.exit(code);
