"""What all tests share: reproducible property tests, and no skips under CI."""
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Seeded by each test's own source: the same examples each time, on any machine, however slow.
settings.register_profile("house", derandomize=True, deadline=None)
settings.load_profile("house")


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
