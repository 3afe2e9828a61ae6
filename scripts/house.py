"""The rules of the house, as functions: each takes a project's root and returns what is wrong, one sentence a finding.

`python scripts/house.py` (or `make lint`) runs them all over this project; the tests run them one by one, and prove on
a throwaway project that each can speak.
"""
import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import lock
import readme

HANDMADE = {"__init__.py", "py.typed"}                       # all that may stand in the package without a notebook
NAME = re.compile(r"(\d\d)_([a-z][a-z0-9_]*)\.ipynb")
Cell = dict


# ---------------------------------------------------------------- reading a project
def package(root: Path) -> str:
    "The package's name, which is the project's"
    return tomllib.loads((root/"pyproject.toml").read_text())["project"]["name"]

def notebooks(root: Path) -> list[Path]:
    "Every notebook of the project, hidden folders apart"
    found = sorted((root/"nbs").rglob("*.ipynb"))
    return [p for p in found if not any(part[0] in "._" for part in p.relative_to(root).parts)]

def library(root: Path) -> list[Path]:
    "The notebooks that make modules: those directly under `nbs/`, the index apart"
    return [p for p in notebooks(root) if p.parent == root/"nbs" and p.name != "index.ipynb"]

def cells(path: Path) -> list[Cell]:
    "Cells of a notebook, each source as one string"
    return [{**c, "source": "".join(c["source"])} for c in json.loads(path.read_text())["cells"]]

def code(path: Path) -> Iterator[tuple[str, ast.Module]]:
    "Id and syntax tree of every code cell, lessons and hidden cells too; magics and shell lines made plain first"
    from IPython.core.inputtransformer2 import TransformerManager
    plain = TransformerManager()
    for c in cells(path):
        if c["cell_type"] == "code": yield c["id"], ast.parse(plain.transform_cell(c["source"]))

@contextlib.contextmanager
def workshop(root: Path) -> Iterator[Path]:
    "A copy of what nbdev reads, in a folder of its own that is also the working directory"
    with tempfile.TemporaryDirectory() as tmp:
        copy, init = Path(tmp).resolve(), root/package(root)/"__init__.py"
        for p in [root/"pyproject.toml", init, *notebooks(root)]:
            to = copy/p.relative_to(root)
            to.parent.mkdir(parents=True, exist_ok=True)
            if p.exists(): shutil.copyfile(p, to)
        quiet = os.environ.pop("IN_TEST", None)              # nbdev exports nothing while this is set
        try:
            with contextlib.chdir(copy): yield copy
        finally:
            if quiet is not None: os.environ["IN_TEST"] = quiet

def said(*cmd: str, root: Path) -> list[str]:
    "The lines a checker prints when it is not content"
    run = subprocess.run([sys.executable, "-m", *cmd], cwd=root, capture_output=True, text=True)
    return (run.stdout + run.stderr).splitlines() if run.returncode else []


# ---------------------------------------------------------------- the rules
def exported(root: Path) -> list[str]:
    "Modules are what the notebooks export, byte for byte, and nothing else stands in the package"
    from nbdev.doclinks import nbdev_export
    lib = package(root)
    made_by = lambda base: {p.relative_to(base).as_posix(): p.read_bytes()
                            for p in [*(base/lib).rglob("*.py"), *(base/"nbs").glob("llms.txt")]}
    with workshop(root) as copy:
        nbdev_export()
        want = made_by(copy)
    have = made_by(root)
    both = sorted(want.keys() & have)
    return [*(f"{p}: no notebook makes it; delete it" for p in sorted(have.keys() - want)),
            *(f"{p}: missing; run `nbdev-export`" for p in sorted(want.keys() - have)),
            *(f"{p}: differs from its notebook; run `nbdev-export`" for p in both if have[p] != want[p])]

def pages(root: Path) -> list[str]:
    "README.md and its pictures are what `nbs/index.ipynb` makes, and its links lead somewhere"
    made = readme.render(root)
    bad = [f"{name}: differs from nbs/index.ipynb; run `make readme`" for name, page in made.items()
           if not (root/name).exists() or (root/name).read_bytes() != page]
    links = [m[2].split("#")[0] for m in readme.LINK.finditer(made["README.md"].decode())]
    return bad + [f"README.md: links to {to}, which is not there" for to in links if not (root/to).exists()]

def clean(root: Path) -> list[str]:
    "`nbdev-clean` would change no notebook, and none keeps the state of widgets"
    from nbdev.clean import nbdev_clean
    bad = []
    for p in notebooks(root):
        try: metadata = json.loads(p.read_text())["metadata"]
        except ValueError as e: bad.append(f"{p.relative_to(root)}: not a notebook ({e})")
        else:
            if "widgets" in metadata: bad.append(f"{p.relative_to(root)}: keeps the state of widgets; silence what shows them, such as a bar")
    if bad: return bad
    with workshop(root) as copy:
        nbdev_clean()
        return [f"{p.relative_to(root)}: not clean; run `nbdev-clean`" for p in notebooks(root)
                if (copy/p.relative_to(root)).read_bytes() != p.read_bytes()]

def names(root: Path) -> list[str]:
    "`nbs/NN_name.ipynb` makes `name.py`, numbers are not shared, and no other notebook exports"
    bad, seen = [], {}
    for p in library(root):
        m = NAME.fullmatch(p.name)
        if not m:
            bad.append(f"nbs/{p.name}: a library notebook is called NN_name.ipynb")
            continue
        number, name = m.groups()
        if number in seen: bad.append(f"nbs/{p.name}: {seen[number]} has the number {number} already")
        seen[number] = p.name
        exp = [e for c in cells(p) for e in re.findall(r"^#\|\s*default_exp:?\s+(\S+)", c["source"], re.M)]
        if exp != [name]: bad.append(f"nbs/{p.name}: must say `#| default_exp {name}` once, says {exp}")
    for p in set(notebooks(root)) - set(library(root)):
        sources = [c["source"] for c in cells(p) if c["cell_type"] == "code"]
        if any(re.search(r"^#\|\s*(default_exp|exports?)\b", s, re.M) for s in sources):
            bad.append(f"{p.relative_to(root)}: exports, but only nbs/NN_name.ipynb may")
    return sorted(bad)

def imports(tree: ast.Module, lib: str) -> Iterator[str]:
    "Modules of the package `lib` that a cell imports, by their first name; `*` for a star import"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith(lib + "."))
        elif isinstance(node, ast.ImportFrom):
            inside = "." * bool(node.level) + (node.module or "")
            parts = inside.lstrip(".").split(".") if node.level else inside.split(".")[1:]
            if not node.level and inside.split(".")[0] != lib: continue
            named = [a.name for a in node.names]
            yield from [parts[0]] if parts and parts[0] else named
            if "*" in named: yield "*"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            what, arg = node.func, str(node.args[0].value)
            called = what.attr if isinstance(what, ast.Attribute) else getattr(what, "id", "")
            if called in ("import_module", "__import__") and arg.startswith(lib + "."): yield arg.split(".")[1]

def direction(root: Path) -> list[str]:
    "A library notebook imports only modules with a lower number, by name"
    lib, bad = package(root), []
    number = {m[2]: int(m[1]) for p in library(root) if (m := NAME.fullmatch(p.name))}
    for p in library(root):
        own = NAME.fullmatch(p.name)
        if not own: continue                                 # `names` speaks of it
        try: trees = list(code(p))
        except SyntaxError as e:
            bad.append(f"nbs/{p.name}: a cell does not parse ({e})")
            continue
        for cell, tree in trees:
            for mod in sorted(set(imports(tree, lib))):
                at = f"nbs/{p.name}: cell {cell}"
                if mod == "*": bad.append(f"{at} imports our own names by star; name them")
                elif mod in ("__version__", "_modidx"): continue
                elif mod not in number: bad.append(f"{at} imports {lib}.{mod}, which no notebook makes")
                elif number[mod] >= int(own[1]):
                    bad.append(f"{at} imports {lib}.{mod}, number {number[mod]:02}; only numbers below {own[1]} may be")
    return bad

def books(root: Path) -> list[str]:
    "A run book, dashboard or benchmark defines nothing and is left out of nbdev's tests; a run book has one cell of parameters"
    bad = []
    for p in notebooks(root):
        at = p.relative_to(root)
        if at.parts[1] not in ("runs", "dashboards", "benchmarks"): continue
        defs = [c for c, tree in code(p) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        bad += [f"{at}: cell {c} defines a function or class; it belongs in a library notebook" for c in defs]
        if not any(c["cell_type"] == "raw" and "skip_exec: true" in c["source"] for c in cells(p)):
            bad.append(f"{at}: its first raw cell must say `skip_exec: true`")
        n = sum("parameters" in c["metadata"].get("tags", []) for c in cells(p))
        if at.parts[1] == "runs" and n != 1: bad.append(f"{at}: one cell must be tagged `parameters`, {n} are")
    return bad

def style(root: Path) -> list[str]:
    "ruff is content with notebooks, package, scripts and tests"
    return said("ruff", "check", "--no-cache", "--output-format=concise", "--quiet", ".", root=root)

def types(root: Path) -> list[str]:
    "mypy is content with the package, and with the notebooks as far as lessons can be held to it"
    # Lessons are executed and show wrong calls on purpose: of them only names and imports are asked. nbqa writes beside
    # the notebooks, so it works on a copy; the same flags and the same cache spare it the package a second time.
    spare = ("arg-type assignment attr-defined call-arg call-overload comparison-overlap dict-item index list-item misc no-redef "
             "no-untyped-call no-untyped-def operator return-value type-var union-attr var-annotated").split()
    mypy = ("mypy", "--no-color-output", "--hide-error-context", "--no-error-summary", f"--cache-dir={root/'.mypy_cache'}")
    bad = said(*mypy, root=root)
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d)
        for name in ("nbs", "firebot", "pyproject.toml"):
            if (root/name).is_dir(): shutil.copytree(root/name, copy/name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (root/name).exists(): shutil.copy2(root/name, copy/name)
        lessons = said("nbqa", *mypy, "nbs", root=copy)
    return bad + [line for line in lessons if ": error: " in line and not line.endswith(tuple(f"[{code}]" for code in spare))]

def locks(root: Path) -> list[str]:
    "The locks hold what `pyproject.toml` asks for, pinned by digest, alike in both, and name no place to fetch it from"
    from packaging.requirements import Requirement
    proj = tomllib.loads((root/"pyproject.toml").read_text())["project"]
    extras = [r for name, rs in proj.get("optional-dependencies", {}).items() if name not in lock.UNLOCKED for r in rs]
    asked = dict(run=proj["dependencies"], dev=[*proj["dependencies"], *extras])
    norm = lambda name: re.sub(r"[-_.]+", "-", name).lower()
    bad, pins = [], {}
    for kind, wanted in asked.items():
        name = lock.LOCKS[kind]
        text = (root/name).read_text()
        if f"# pyproject: {lock.digest(root)}\n" not in text:
            bad.append(f"{name}: made from other dependencies than pyproject.toml has now; run `make lock`")
        for n, line in enumerate(text.splitlines(), 1):
            if not line.startswith("#") and re.search(r"://|file:| @ |(^|\s)-(?!-hash=)", line):
                bad.append(f"{name}, line {n}: names a place ({line.strip()[:60]})")
        entries = [e for e in re.split(r"\n(?=\S)", text.replace("\\\n", "")) if e[0].isalnum()]
        found = [(Requirement(e.split("--hash")[0].strip()), "--hash=sha256:" in e) for e in entries]
        bad += [f"{name}: {r.name} is not pinned by digest" for r, hashed in found
                if not hashed or [s.operator for s in r.specifier] != ["=="]]
        pins[kind] = {(norm(r.name), s.version) for r, _ in found for s in r.specifier}
        for want in map(Requirement, wanted):
            versions = [v for n, v in pins[kind] if n == norm(want.name)]
            if want.name != proj["name"] and not any(want.specifier.contains(v, prereleases=True) for v in versions):
                bad.append(f"{name}: {want} is not in it; run `make lock`")
    apart = sorted(pins["run"] - pins["dev"])
    return bad + [f"{lock.LOCKS['dev']}: {n} {v} of {lock.LOCKS['run']} is missing" for n, v in apart]

def tracked(root: Path) -> list[Path]:
    "Files that are in git or would be; without git, all but environments and caches"
    run = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root,
                         capture_output=True, text=True) if (root/".git").exists() else None
    if run and not run.returncode: return [p for f in run.stdout.split("\0") if f and (p := root/f).is_file()]
    skip = {".venv", ".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "reports"}
    return [p for p in root.rglob("*") if p.is_file() and not skip & set(p.relative_to(root).parts)]

def places(root: Path) -> list[str]:
    "What no tracked file may name: package indexes, this machine's among them, and home or temporary folders"
    hosts = ["py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.org", "anaconda" + r"\.org"]
    ask = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    keys = ("INDEX", "FIND_LINKS", "REGISTRY", "PROXY")
    mine = ask + "\n".join(v for k, v in os.environ.items() if any(w in k.upper() for w in keys))
    hosts += [re.escape(h) for h in re.findall(r"://([^/\s'\"]+)", mine) if h not in ("localhost", "127.0.0.1")]
    local = [p for p in re.findall(r"(?:['\s=]|file://)(/[^\s'\"]+/[^\s'\"]+)", mine) if "cert" not in p]
    folders = [f"{f}/" for f in (Path.home(), root.resolve().parent) if len(f.parts) > 1]
    here = [re.escape(f) + r"(?=\w|$)" for f in [*local, *folders]]
    return [*hosts, *here, r"(?<!\w)/(?:home|Users)/\w+/", r"(?<!\w)/root/\w"]

def secrets(root: Path) -> list[str]:
    "No tracked file names a package index or a folder of the machine it was written on"
    ban, shown = re.compile("|".join(places(root))), re.compile(r"/tmp/\w|/var/folders/")
    bad = []
    for p in tracked(root):
        try: text = p.read_text()
        except UnicodeDecodeError: continue
        page = p.suffix == ".ipynb" or p.name == "README.md"
        for n, line in enumerate(text.splitlines(), 1):
            hit = ban.search(line) or (shown.search(line) if page else None)
            if hit: bad.append(f"{p.relative_to(root)}, line {n}: names {hit[0]!r}, a place only this machine knows")
    return bad

RULES = dict(names=names, direction=direction, books=books, exported=exported, pages=pages, clean=clean, locks=locks,
             secrets=secrets, style=style, types=types)

def main() -> None:
    "Run every rule over this project and leave 1 when one is broken"
    root, bad = Path(__file__).resolve().parent.parent, 0
    for rule, check in RULES.items():
        for line in check(root):
            print(f"{rule}: {line}")
            bad += 1
    if bad: sys.exit(1)
    print(f"{len(RULES)} rules hold")

if __name__ == "__main__": main()
