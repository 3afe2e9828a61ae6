"""What all tests share: reproducible property tests, and no skips under CI."""
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Seeded by each test's own source: the same examples each time, on any machine, however slow.
settings.register_profile("house", derandomize=True, deadline=None)
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    "Where the user's own folder for compiled code is not private, nothing is kept, and the suite would compile for hours: give it one"
    if hasattr(config, "workerinput"): return
    from firebot.compiled import cache_root
    if cache_root() is not None: return
    os.environ["FIREBOT_CACHE"] = tempfile.mkdtemp(prefix="firebot-cache-")
    cache_root.cache_clear()


def pytest_report_header() -> str:
    "Where compiled code is kept, and how much is there already"
    from firebot.compiled import cache_root
    folder = cache_root()
    return f"compiled code: {folder}, {len(list(folder.iterdir())) if folder else 0} modules"


@pytest.fixture(scope="session")
def root() -> Path:
    "The project's root"
    return Path(__file__).resolve().parent.parent


def skipped(config: pytest.Config) -> list:
    "Skips that CI does not forgive: all of them, when the environment says CI"
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return reporter.stats.get("skipped", []) if reporter and os.environ.get("CI", "").lower() in ("1", "true") else []


def pytest_sessionfinish(session: pytest.Session) -> None:
    "Under CI a skipped test is a failed session"
    if skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    "Say which skips failed the session"
    if not (bad := skipped(terminalreporter.config)): return
    terminalreporter.section("skipped under CI, which counts as failed", sep="=", red=True)
    for report in bad: terminalreporter.line(f"{report.nodeid}: {report.longrepr[-1] if report.longrepr else ''}")
