"""The page in a real browser: no console message, no request leaves it, its sections are there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.report_records import NUMBERS, make_run

from toolkit.report import html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome on the PATH"),
]

_CSP = re.compile(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>")


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page: the DOM, console lines and addresses it asked for beyond files and data."""

    dom: str
    console: list[str]
    requests: list[str]


def visit(page: Path, scratch: Path) -> Visit:
    """Opens a page in headless Chromium without any name service."""
    log = scratch / "net.json"
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-extensions", "--enable-logging=stderr", "--v=0",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={scratch / 'profile'}", f"--log-net-log={log}",
        "--virtual-time-budget=2000", "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run(
        [str(CHROMIUM), *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    net = json.loads(log.read_text(encoding="utf-8"))
    start = net["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    jobs = [event["params"] for event in net["events"] if event["type"] == start and "url" in event.get("params", {})]
    # The browser's own errands (time, updates) have no origin; what a page asks for has the page's.
    asked = {job["url"] for job in jobs if job.get("initiator") != "not an origin"}
    return Visit(
        dom=done.stdout,
        console=[line for line in done.stderr.splitlines() if "CONSOLE" in line],
        requests=sorted(url for url in asked if not url.startswith(("file:", "data:"))),
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return html.write(make_run(tmp_path_factory.mktemp("browser") / "run"))


def test_the_page_is_quiet_and_whole(report: Path, tmp_path: Path) -> None:
    seen = visit(report, tmp_path)
    assert seen.console == []
    assert seen.requests == []
    for section in (
        "summary",
        "overview",
        "accuracy",
        "latency",
        "gate",
        "disagreements",
        "learned",
        "zeros",
        "conditions",
        "method",
    ):
        assert f'id="{section}"' in seen.dom
    assert all(name.replace("_", "_<wbr>") in seen.dom for name in NUMBERS)


@pytest.mark.parametrize("forbidden", [True, False])
def test_a_planted_request_is_seen(report: Path, tmp_path: Path, forbidden: bool) -> None:
    planted = report.read_text(encoding="utf-8").replace("<main>", '<main><img src="http://example.invalid/x.png">')
    path = tmp_path / "planted.html"
    path.write_text(planted if forbidden else _CSP.sub("", planted), encoding="utf-8")
    seen = visit(path, tmp_path)
    # The page's own policy stops the request and says so; without the policy it goes out.
    assert seen.requests == ([] if forbidden else ["http://example.invalid/x.png"])
    assert any("Content Security Policy" in line for line in seen.console) == forbidden


def test_a_planted_console_error_is_seen(report: Path, tmp_path: Path) -> None:
    script = "<main><script>console.error('planted')</script>"
    path = tmp_path / "planted.html"
    path.write_text(_CSP.sub("", report.read_text(encoding="utf-8")).replace("<main>", script), encoding="utf-8")
    assert any("planted" in line for line in visit(path, tmp_path).console)
