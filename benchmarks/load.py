"""Load generators that are not ours: wrk for callers that send as fast as they are answered, h2load for a rate."""

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ratchet.errors import Refusal

_SCRIPT = """\
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{headers}
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.status + errors.read + errors.write + errors.timeout + errors.connect
  local line = '{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "most": %d, "failed": %d}}'
  io.stderr:write(string.format(line, summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), latency.max, failed))
end
"""


@dataclass(frozen=True)
class Request:
    url: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Measurement:
    """What one load came to."""

    rate: float
    """Successful answers a second."""
    p50: float
    """Milliseconds, as the others below; by h2load of the successful answers, by wrk of all."""
    p99: float
    most: float
    failed: int
    """Answers other than 200, and requests without an answer."""
    refused: int = 0
    """Of these, with 503 or 429."""


def steady(request: Request, connections: int, seconds: float) -> Measurement:
    """By wrk: each connection sends its next request when it has an answer. Raises Refusal if there is no wrk."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder) / "body", Path(folder) / "post.lua"
        body.write_bytes(request.body)
        headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items())
        script.write_text(_SCRIPT.format(body=body, headers=headers), encoding="utf-8")
        options = ("-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(script))
        printed = _run("wrk", *options, request.url).stderr
    of = json.loads(printed)
    succeeded = of["requests"] - of["failed"]
    return Measurement(
        succeeded / of["microseconds"] * 1e6, of["p50"] / 1e3, of["p99"] / 1e3, of["most"] / 1e3, of["failed"]
    )


_GROUPS = 16
"""Of callers, who begin one after another: those of one h2load all send in the same moment."""


def at_rate(request: Request, connections: int, rate: float, seconds: float) -> Measurement:
    """By h2load: so many requests a second, whether or not earlier ones were answered, as far as connections are free.

    Raises Refusal if there is no h2load.
    """
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(request.body)
        headers = [part for name, value in request.headers.items() for part in ("-H", f"{name}: {value}")]
        options = ("--h1", f"-c{connections // _GROUPS}", f"--rps={rate / connections:.4f}", f"-D{seconds:.0f}",
                   "-d", str(body), *headers, request.url)  # fmt: skip
        logs = [Path(folder) / f"log-{number}" for number in range(_GROUPS)]
        with ThreadPoolExecutor(_GROUPS) as pool:
            running = []
            for log in logs:
                running.append(pool.submit(_run, "h2load", f"--log-file={log}", *options))
                time.sleep(connections / rate / _GROUPS)
            for each in running:
                each.result()
        rows = np.array([line.split("\t")[:3] for log in logs for line in log.read_text().splitlines()], np.int64)
    status, milliseconds = rows[:, 1], rows[:, 2] / 1e3
    answered = milliseconds[status == 200]
    p50, p99 = np.quantile(answered, [0.5, 0.99]) if len(answered) else (np.nan, np.nan)
    refused = int(np.isin(status, (429, 503)).sum())
    most = float(answered.max(initial=0.0))
    return Measurement(len(answered) / seconds, float(p50), float(p99), most, int((status != 200).sum()), refused)


def _run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([program, *options], capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        package = {"h2load": "nghttp2-client"}.get(program, program)
        raise Refusal(f"there is no {program}", program, f"Install Debian's package {package}") from error
    except subprocess.CalledProcessError as error:
        raise Refusal(f"{program} failed ({error.stderr.strip()[-200:]})", options[-1], "See that it serves") from error
