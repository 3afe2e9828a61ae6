"""Pin everything: requirements.lock (a run), requirements-dev.lock (every extra), requirements-uv.lock (the installer).

`python scripts/lock.py` keeps the pins that still fit, `--upgrade` takes the newest. Needs `uv` on the path or beside
this interpreter. The locks hold for every platform and name no package index: whoever installs brings their own.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

LOCKS = dict(run="requirements.lock", dev="requirements-dev.lock", uv="requirements-uv.lock")
TITLES = dict(run="what a run needs", dev="every extra but `deep`, and the house's tools; the shared part equals requirements.lock",
              uv="the installer itself")

UNLOCKED = {"deep"}  # PyTorch's default build brings gigabytes that few machines can use


def digest(root: Path) -> str:
    "Digest of all that decides what a lock must hold: the dependency tables of `pyproject.toml`"
    conf = tomllib.loads((root/"pyproject.toml").read_text())
    proj = conf["project"]
    said = [proj["requires-python"], sorted(proj.get("dependencies", [])), conf["build-system"]["requires"],
            {k: sorted(v) for k, v in proj.get("optional-dependencies", {}).items()}]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def compile_lock(root: Path, kind: str, inputs: str, *args: str) -> None:
    "Resolve the requirement lines `inputs` into the lock called `kind`"
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if not uv: sys.exit("lock: uv is missing; `make install` brings it, or: python -m pip install uv")
    out = root/LOCKS[kind]
    # A fixed stand-in for the input's name keeps paths out of the lock's comments.
    cmd = [uv, "pip", "compile", "-", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header",
           "--no-annotate", "--quiet", "--output-file", str(out), *args]
    subprocess.run(cmd, input=inputs, text=True, cwd=root, check=True)
    head = f"# {TITLES[kind]}; made by `make lock`, do not edit\n# pyproject: {digest(root)}\n"
    out.write_text(head + out.read_text())


def main() -> None:
    "Rebuild the three locks from `pyproject.toml`"
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    up = ["--upgrade"] if cli.parse_args().upgrade else []
    root = Path(__file__).resolve().parent.parent
    conf = tomllib.loads((root/"pyproject.toml").read_text())
    proj, build = conf["project"], conf["build-system"]["requires"]
    extras = [r for name, rs in proj["optional-dependencies"].items() if name not in UNLOCKED for r in rs
              if not r.startswith(proj["name"]+"[")]
    run = proj["dependencies"] + build
    compile_lock(root, "dev", "\n".join(run + extras), *up)
    compile_lock(root, "run", "\n".join(run), "--constraints", LOCKS["dev"], *up)
    compile_lock(root, "uv", "uv", *up)


if __name__ == "__main__": main()
