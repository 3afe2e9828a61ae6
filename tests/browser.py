"A browser and servers to point it at: for the tests of the dashboards, and for the book that measures how fast they open."
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIREBOT = str(Path(sys.executable).parent/"firebot")
TOKEN = "a-token-for-the-tests"
CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PATIENCE = 60_000 # ms; a machine may be busy, and no test measures time

# The last question is answered and every chart is drawn.
SETTLED = """() => { const root = document.querySelector('.fb');
  return root && root.dataset.answered && !root.hasAttribute('aria-busy') &&
         [...document.querySelectorAll('.fb-plot')].every(p => p.querySelector('.main-svg')); }"""
# The heading stands, and the figures below it where the page has some.
SEEN = "() => document.querySelector('.fb h1, .fb .fb-empty h2')"


def firebot(*args: Any, cwd: Path, ok: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    "Run the command as a user would."
    done = subprocess.run([FIREBOT, *map(str, args)], cwd=cwd, text=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode in ok, done.stderr
    return done


@contextmanager
def served(words: list[str], port: int, cwd: Path, log: Path) -> Iterator[str]: # Address
    "A server while it is needed."
    with log.open("w") as out:
        process = subprocess.Popen(words, cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT), "FIREBOT_TOKEN": TOKEN}, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            while True:
                assert process.poll() is None, log.read_text()
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0: break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def dashboards(workspace: Path, log: Path, warm: bool = False) -> Any: # A context: the address
    "The dashboards of a workspace, served as `firebot dashboard` does."
    port = free_port()
    return served([FIREBOT, "dashboard", "--port", str(port), "--no-browser", *([] if warm else ["--no-warm"])], port, workspace, log)


def empty_page(folder: Path, log: Path, warm: bool = False) -> Any: # A context: the address
    "Voilà as it comes, on a notebook with one empty cell."
    port = free_port()
    folder.mkdir(exist_ok=True)
    cell = dict(cell_type="code", id="a", metadata={}, source="1", outputs=[], execution_count=None)
    kernel = dict(name="python3", display_name="python3", language="python")
    (folder/"empty.ipynb").write_text(json.dumps(dict(cells=[cell], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)))
    words = [sys.executable, "-m", "voila", str(folder), "--no-browser", f"--Voila.port={port}", f"--Voila.token={TOKEN}",
             f"--VoilaConfiguration.preheat_kernel={warm}", "--Voila.ip=127.0.0.1"]
    return served(words, port, folder, log)


def first_token(page: Any, address: str, path: str) -> None:
    "Log in once, so that what is timed is opening a page."
    page.goto(f"{address}{path}?token={TOKEN}")


def opened(page: Any, url: str, sign: str, then: str | None = None) -> tuple[float, float]: # Seconds until `sign`, and until `then`
    "How long a page takes to show something."
    begin = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(sign, timeout=PATIENCE)
    seen = time.perf_counter() - begin
    if then: page.wait_for_function(then, timeout=PATIENCE)
    return seen, time.perf_counter() - begin
