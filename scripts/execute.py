"""Run a notebook as `nbdev-test` does, in a process of its own, and write it with its fresh outputs to stdout.

Exported cells are compiled under the name and the lines of the module they make: a traceback, a debugger and the
coverage report then speak of `firebot/x.py`, and the lessons beside a function count as its tests.
Usage: `python scripts/execute.py NOTEBOOK ROOT`; leaves 1, and the traceback on stderr, when a cell fails.
"""
import ast
import re
import sys
from pathlib import Path

import nbdev.test
from execnb.shell import CaptureShell
from fastcore.nbio import nb2str, read_nb
from IPython.core.compilerop import CachingCompiler

Home = tuple[str, int]                                     # a module's file, and how far its lines are from the cell's


def code(source: str) -> str:
    "A cell's source below its `#|` lines"
    return re.sub(r"\A(\s*#\|[^\n]*\n)+", "", source).strip()

def homes(path: Path, root: Path) -> dict[str, Home]:
    "Where the source of each exported cell of a notebook stands in its module"
    made = root/"firebot"/(re.sub(r"^\d\d_", "", path.stem) + ".py")
    if not made.exists(): return {}
    lines = made.read_text().splitlines()
    marks = {line.rsplit("#", 1)[1]: n for n, line in enumerate(lines, 1) if re.match(r"# %% \.\./nbs/\S+ #", line)}
    cells = [c for c in read_nb(path).cells if c.cell_type == "code" and c.id in marks]
    above = lambda source: source[:source.index(code(source))].count("\n")
    return {code(c.source): (str(made), marks[c.id] - above(c.source)) for c in cells if code(c.source)}

class Compiler(CachingCompiler):
    "Names exported cells after their module"
    known: dict[str, Home] = {}
    shift = 0
    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        "The file that tracebacks and coverage will name"
        usual = super().cache(transformed_code, number, raw_code)
        made, self.shift = self.known.get(code(transformed_code), (usual, 0))
        return made
    def ast_parse(self, source: str, filename: str = "<unknown>", symbol: str = "exec") -> ast.AST:
        "The cell's syntax tree, its lines counted as the module counts them"
        return ast.increment_lineno(super().ast_parse(source, filename, symbol), self.shift)

class Shell(CaptureShell):
    "nbdev's shell with our compiler"
    compiler_class = Compiler

def main(path: Path, root: Path) -> int:
    "Run the notebook at `path`"
    made: list[str] = []
    Compiler.known = homes(path, root)
    nbdev.test.CaptureShell = Shell
    nbdev.test.write_nb = lambda nb, fn: made.append(nb2str(nb))   # in place of saving over the notebook
    ok, _ = nbdev.test.test_nb(path, save=True, basepath=root, skip_flags=["notest"], cell_timeout=300)
    sys.stdout.write("".join(made))
    return 0 if ok else 1

if __name__ == "__main__": sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
