"A browser and servers to point it at: for the tests of the dashboards, and for the book that measures how fast they open."
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIREBOT = str(Path(sys.executable).parent/"firebot")
TOKEN = "a-token-for-the-tests"
CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PIDS: dict[str, int] = {} # Address of a server -> its process
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
            PIDS[address := f"http://127.0.0.1:{port}"] = process.pid
            yield address
        finally:
            if process.poll() is None: os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def dashboards(workspace: Path, log: Path, warm: bool = True, **more: int) -> Any: # A context: the address
    "The dashboards of a workspace, served as `firebot dashboard` does; `more` are parameters of `firebot.dashboard.serve`."
    port = free_port()
    words = [FIREBOT, "dashboard", "--port", str(port), "--no-browser", *([] if warm else ["--no-warm"])]
    if more: words = [sys.executable, "-c", f"from firebot.dashboard import serve; serve({port}, False, **{more})"]
    return served(words, port, workspace, log)


def empty_page(folder: Path, log: Path) -> Any: # A context: the address
    "Voilà as it comes, on a notebook with one empty cell."
    port = free_port()
    folder.mkdir(exist_ok=True)
    cell = dict(cell_type="code", id="a", metadata={}, source="1", outputs=[], execution_count=None)
    kernel = dict(name="python3", display_name="python3", language="python")
    (folder/"empty.ipynb").write_text(json.dumps(dict(cells=[cell], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)))
    words = [sys.executable, "-m", "voila", str(folder), "--no-browser", f"--Voila.port={port}", f"--Voila.token={TOKEN}",
             "--Voila.ip=127.0.0.1"]
    return served(words, port, folder, log)


class Visitor:
    "Somebody who is logged in, and what they are sent."
    def __init__(self, browser: Any, address: str) -> None:
        self.address, self.bytes = address, 0
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("websocket", lambda ws: ws.on("framereceived", self._count))
        self.page.goto(f"{address}/?token={TOKEN}")

    def _count(self, payload: str | bytes) -> None: self.bytes += len(payload)

    def opens(self, path: str, *signs: str) -> list[float]: # Seconds until each of `signs`
        "Open a page, and leave it again."
        self.bytes, begin, seconds = 0, time.perf_counter(), []
        self.page.goto(f"{self.address}/voila/render/{path}", wait_until="commit")
        for sign in signs:
            self.page.wait_for_function(sign, timeout=PATIENCE)
            seconds.append(time.perf_counter() - begin)
        return seconds

    def asks(self, script: str) -> float: # Seconds
        "Do something with a control, until the answer is drawn."
        return float(self.page.evaluate(ASKED, script)) / 1e3


# What an empty page of Voilà's shows at last.
EMPTY = "() => [...document.querySelectorAll('.jp-OutputArea-output')].some(e => e.offsetParent && e.textContent.trim() === '1')"
# The time from a control's change until the answer is drawn, in the browser's own milliseconds.
ASKED = """script => new Promise(resolve => {
  const root = document.querySelector('.fb'), before = +root.dataset.answered, begin = performance.now();
  new Function(script)();
  const drawn = () => [...document.querySelectorAll('.fb-plot')].every(p => p.querySelector('.main-svg'));
  const look = () => +root.dataset.answered > before && !root.hasAttribute('aria-busy') && drawn() ?
    resolve(performance.now() - begin) : requestAnimationFrame(look);
  requestAnimationFrame(look); })"""


@contextmanager
def visitors(*addresses: str) -> Iterator[list[Visitor]]:
    "One browser, and somebody at each address."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield [Visitor(found, a) for a in addresses]
        found.close()


def memory(address: str) -> dict[str, float]: # MB
    "What the server, the process that kernels are copied from, and the latest kernel hold; server and kernel without what they share."
    import psutil
    server = psutil.Process(PIDS[address])
    [source] = [p for p in server.children() if "serve_forks" in " ".join(p.cmdline())]
    kernel = max(source.children(), key=lambda p: p.create_time())
    own = {name: p.memory_full_info().uss for name, p in (("server", server), ("kernel", kernel))}
    return {name: size / 1e6 for name, size in (own | {"fork server": source.memory_info().rss}).items()}


def _openings(workspace: Path, pages: Mapping[str, str], warm: bool) -> dict[str, Any]:
    out: dict[str, Any] = dict(seconds={name: [] for name in pages}, bytes={}, empty=[], memory={})
    with ExitStack() as stack:
        address = stack.enter_context(dashboards(workspace, workspace/"opened.log", warm))
        plain = stack.enter_context(empty_page(workspace/"empty", workspace/"empty.log"))
        reader, other = stack.enter_context(visitors(address, plain))
        for pause in (0, 3) if warm else (0,): # one page after the other, and with a look at each
            for i, (name, path) in enumerate(pages.items()):
                if i % 3 == 0: out["empty"] += other.opens("empty.ipynb", EMPTY)
                time.sleep(pause)
                out["seconds"][name].append(reader.opens(path, SEEN, SETTLED))
                out["bytes"][name] = reader.bytes
                if warm: out["memory"][name] = memory(address)
    return out


def _askings(workspace: Path, asks: Mapping[str, tuple[Any, ...]], turns: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in asks}
    with dashboards(workspace, workspace/"asked.log") as address, visitors(address) as (reader,):
        for _ in range(turns):
            for name, (path, script, *look) in asks.items():
                reader.opens(path, SETTLED)
                time.sleep(look[0] if look else 0.5)
                took[name].append(reader.asks(script))
    return took


# Playwright's blocking calls refuse to run beside an event loop, which a notebook has: they get a thread of their own.
def openings(workspace: Path, pages: Mapping[str, str], warm: bool) -> dict[str, Any]:
    """Open every page: `seconds` until it is seen and whole, at each opening; `bytes` sent to it; `memory` in MB; and seconds of an `empty` page,
    several times in between. Where kernels are copied from a loaded process, every page is opened twice: at once after the one before, and later."""
    with ThreadPoolExecutor(1) as aside: return aside.submit(_openings, workspace, pages, warm).result()


def askings(workspace: Path, asks: Mapping[str, tuple[Any, ...]], turns: int) -> dict[str, list[float]]: # Name -> seconds in each turn
    "How long the answers to controls take: name -> page, what to do there, and after how many seconds of looking."
    with ThreadPoolExecutor(1) as aside: return aside.submit(_askings, workspace, asks, turns).result()
