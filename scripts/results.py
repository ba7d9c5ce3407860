"""Writes RESULTS.md from the studies that are kept in results/, and keeps a study there.

    python scripts/results.py add studies/NAME results/mnist_mlp.json --title "MNIST, an MLP of three layers of 2048"
    python scripts/results.py                 # RESULTS.md, after words.md or a study has changed

A kept study is what the table needs of its study.json, without a machine's paths. results/words.md is written by hand: what was
learned, each sentence held by a table: of results/NAME.json below `## NAME`, of all studies before the first such line. Studies
stand in the order of their files' names.
"""

import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import usage

from bnn_train import files
from bnn_train.cli.keys import groups_of
from bnn_train.config.root import Config
from bnn_train.report import study, study_table

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# Results

Each table is what one command of [bnn-study](docs/study.md) gave: the real-valued twin first, then methods under the same budget of
epochs, as near as whole epochs allow, the same data and seeds. `python scripts/results.py` writes this page from results/; FOLDER
stands for where the images lie. A figure without its command, seeds and machine is not here.
"""
OF_STUDY = ("format", "title", "command", "seeds", "held_out", "processor", "begun", "updated")
OF_ROW = ("name", "method", "twin", "model", "epochs", "refused")


def paths() -> set[str]:
    """The keys whose value is a place on a machine."""
    places = [("", Config), *((f"{group}.", kind) for group, kinds in groups_of(Config).items() for kind in kinds)]
    return {prefix + each.name for prefix, kind in places for each in fields(kind) if each.metadata.get("unit") == "path"}


def for_others(command: str) -> tuple[str, list[str]]:
    """(a command with FOLDER and names in place of a machine's paths; these paths)."""
    words: list[str] = []
    found: list[str] = []
    for word in shlex.split(command):
        key, equals, value = word.partition("=")
        if words[-1:] in (["-cd"], ["--config-dir"]):
            key, value, word = "", word, Path(word).name
        elif equals and key in paths():
            word = "" if key == "data.cache_dir" else f"{key}=FOLDER"
        elif key == "plugins":
            word = f"{key}=[{','.join(Path(name.strip()).name for name in value.strip('[]').split(','))}]"
        else:
            value = ""
        found += [value] if "/" in value else []
        words += [word] if word else []
    return shlex.join(words), found


def kept(found: Mapping[str, Any], title: str) -> dict[str, Any]:
    """What of a study.json is kept."""
    command, machines_own = for_others(found["command"])
    rows = [{**{key: row[key] for key in OF_ROW}, "runs": [_of_run(run) for run in row["runs"]]} for row in found["rows"]]
    text = json.dumps({**{key: found[key] for key in OF_STUDY if key in found}, "title": title, "command": command, "rows": rows})
    for path in machines_own:
        text = text.replace(json.dumps(path)[1:-1], "FOLDER")
    whole: dict[str, Any] = json.loads(text)
    return whole


def _of_run(run: Mapping[str, Any]) -> dict[str, Any]:
    return {**run, "reason": ""} if run["status"] == "busy" else dict(run)  # who trains it: a process and its machine


def written(whole: Mapping[str, Any]) -> str:
    """A kept study as JSON: a line for each run."""
    about = json.dumps({key: value for key, value in whole.items() if key != "rows"}, indent=1).removesuffix("\n}")
    rows = []
    for row in whole["rows"]:
        without = json.dumps({key: value for key, value in row.items() if key != "runs"}).removesuffix("}")
        runs = ",".join(f"\n   {json.dumps(run)}" for run in row["runs"])
        rows.append(f'\n  {without}, "runs": [{runs}]}}')
    return f'{about},\n "rows": [{",".join(rows)}\n ]\n}}\n'


def page(folder: Path = ROOT / "results") -> str:
    """RESULTS.md."""
    studies = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}
    said = words((folder / "words.md").read_text(encoding="utf-8"))
    if unknown := [name for name in said if name and name not in studies]:
        sys.exit(f"results/words.md has words on {unknown[0]}, and there is no results/{unknown[0]}.json")
    tables = (study_table.markdown(each, "##", said.get(name, "")) for name, each in studies.items())
    return "\n".join([HEAD, *([said[""], ""] if said[""] else []), *tables])


def words(text: str) -> dict[str, str]:
    """What words.md says of each study, by the name of its file; of all of them under ""."""
    whole, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {"": whole.strip(), **{name.strip(): said.strip() for name, said in zip(parts[::2], parts[1::2], strict=True)}}


def add(source: Path, target: Path, title: str) -> None:
    found = study.load(source)
    if found is None or not study.figures(found):
        sys.exit(f"{source} holds no study.json with a finished run")
    for line in study.left_out(found):
        print(f"note: {line}")
    files.write_text(written(kept(found, title)), target)
    print(f"written: {target}")


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("what", nargs="*", metavar="add STUDY FILE", help="keep a study: its folder, and a file in results/")
    parser.add_argument("--title", help="of the study that is kept")
    given = parser.parse_args()
    if given.what:
        if len(given.what) != 3 or given.what[0] != "add" or not given.title:
            parser.error("to keep a study: add studies/NAME results/NAME.json --title TITLE")
        add(Path(given.what[1]), Path(given.what[2]), given.title)
    files.write_text(page(), ROOT / "RESULTS.md")
    print("written: RESULTS.md")


if __name__ == "__main__":
    main()
