"""README.md from `nbs/index.ipynb`: the cells as they stand, with saved outputs; nothing is executed here.

Cells say what they show as in nbdev: `#| hide` leaves a cell out, `#| echo: false` leaves its source out. Links are
relative to the notebook and are made relative to the README. `python scripts/readme.py` writes the files.
"""
import json
import posixpath
import re
from pathlib import Path

NOTE = "<!-- Made from nbs/index.ipynb by `make readme`; edit the notebook, not this file. -->\n\n"
ORDER = ["text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/html", "text/plain"]
LINK = re.compile(r"(\]\(|<(?:img|a)\b[^>]*?\b(?:src|href)=\")(?![a-z]+:|#|/)([^)\s\"]+)")


def directives(source: str) -> dict[str, str]:
    "The `#| name: value` lines that a cell begins with"
    found = (re.match(r"#\|\s*([\w-]+):?\s*(.*)", line) for line in source.splitlines())
    return {m[1]: m[2].strip() for m in found if m}


def render(root: Path) -> dict[str, bytes]:
    "The README and the pictures its cells drew, by file name relative to `root`"
    import nbformat
    from nbconvert import MarkdownExporter
    from traitlets.config import Config
    nb = json.loads((root/"nbs"/"index.ipynb").read_text())
    keep = []
    for cell in nb["cells"]:
        source = "".join(cell["source"])
        says, shown = directives(source), re.sub(r"^#\|.*\n?", "", source, flags=re.M)
        if cell["cell_type"] == "raw" or "hide" in says: continue
        if cell["cell_type"] == "markdown":
            cell["source"] = LINK.sub(lambda m: m[1] + posixpath.normpath(posixpath.join("nbs", m[2])), shown)
        else:
            cell["source"] = "" if says.get("echo") == "false" else shown
            if not cell["source"]: cell["metadata"]["transient"] = {"remove_source": True}
            for out in cell["outputs"]:                      # pandas ships a style sheet with each table
                if "data" in out: out["data"] = {k: "".join(v) if isinstance(v, list) else v for k, v in out["data"].items()}
                if "text/html" in out.get("data", {}):
                    html = "".join(out["data"]["text/html"])
                    out["data"]["text/html"] = re.sub(r"<style.*?</style>\n?", "", html, flags=re.S)
        keep.append(cell)
    nb["cells"] = keep
    conf = Config({"NbConvertBase": {"display_data_priority": ORDER}})
    body, extra = MarkdownExporter(config=conf).from_notebook_node(
        nbformat.from_dict(nb), resources={"output_files_dir": "README_files", "unique_key": "index"})
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    return {"README.md": (NOTE + body).encode(), **{k: bytes(v) for k, v in sorted(extra.get("outputs", {}).items())}}


def main() -> None:
    "Write the README of this project and say what changed"
    root = Path(__file__).resolve().parent.parent
    for name, made in render(root).items():
        path = root/name
        if path.exists() and path.read_bytes() == made: continue
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made)
        print(f"wrote {name}")


if __name__ == "__main__": main()
