"""Reads a source file into rows, in a child process with limited memory and disk.

The bytes of a file decide its format. The kernel enforces the limits (`RLIMIT_AS`, `RLIMIT_FSIZE`)
whatever size the file claims, so no parser has to be trusted. Nothing in a file is ever executed.
"""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from ratchet import kinds
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.kinds import parts
from ratchet.lake import encoding
from ratchet.lake.encoding import Part
from ratchet.layout import DETECTED, Layout
from ratchet.progress import SECONDS, Report, silent
from ratchet.recipe import Feed
from ratchet.settings import settings

_FACTS = "facts"
_SECONDS = 300
"""In which the child must have written something."""


@dataclass(frozen=True)
class Limits:
    memory: int
    """Bytes in addition to what the reader itself takes."""
    disk: int


def limits() -> Limits:
    """Those of the settings."""
    return Limits(memory=settings().ingest_memory_mb << 20, disk=settings().ingest_disk_mb << 20)


def read(
    inputs: Path,
    contract: Contract,
    limits: Limits,
    scratch: Path,
    labels: Path | None = None,
    part: Feed | None = None,
    layout: Layout = DETECTED,
    report: Report = silent,
) -> pa.Table:
    """The rows of a source, or a part of them, as `encoding.ROWS`; refused records are rows with a reason.

    The table's metadata has what was found out about the source, for people; see `facts`.

    Raises Refusal if the source as a whole has an unknown format, or is broken, empty or too large.
    """
    out = scratch / "rows.arrow"
    start, stop, every = (part.start, part.stop, part.every) if part else (0, None, 0)
    files = {"inputs": str(inputs), "labels": str(labels) if labels else None, "out": str(out)}
    bounds = {"start": start, "stop": stop, "every": every, "memory": limits.memory, "disk": limits.disk}
    job = {**files, **bounds, "contract": contract.to_json(), "layout": asdict(layout)}
    env = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2",
           "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
    status, stdout, stderr = _run(json.dumps(job), env, out, inputs, report)
    if status == 0:
        # Mapped, not read: the caller iterates over it batch by batch.
        rows = pa.ipc.open_file(pa.memory_map(str(out))).read_all()
        return rows.replace_schema_metadata({_FACTS: stdout})
    out.unlink(missing_ok=True)
    try:
        raise Refusal(**json.loads(stdout))
    except (ValueError, TypeError):
        message = (stderr.strip().splitlines() or ["no output"])[-1]
        what = f"the reader stopped (exit {status}: {message[:200]})"
        raise Refusal(what, inputs, "The file is broken, or needs more than RATCHET_INGEST_MEMORY_MB") from None


def _run(job: str, env: dict[str, str], out: Path, inputs: Path, report: Report) -> tuple[int, str, str]:
    """The exit status and the output of the child, which may take as long as it goes on writing records."""
    command, pipe = [sys.executable, "-m", "ratchet.lake.sources"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        size, grown = -1, time.monotonic()
        left: str | None = job
        while True:
            try:
                stdout, stderr = process.communicate(left, timeout=min(SECONDS, _SECONDS))
                return process.returncode, stdout, stderr
            except subprocess.TimeoutExpired:
                left = None  # it was sent
                before, size = size, out.stat().st_size if out.exists() else -1
                if size > before:
                    grown = time.monotonic()
                    report(f"{size / 1e6:,.0f} MB of records are read")
                elif time.monotonic() - grown >= _SECONDS:
                    process.kill()
                    what = f"nothing of it was read for {_SECONDS} s"
                    raise Refusal(what, inputs, "Split it into smaller files") from None
            except BaseException:
                process.kill()
                raise


def facts(rows: pa.Table) -> tuple[str, ...]:
    """What was found out about a source that was read, such as its encoding, in sentences."""
    return tuple(json.loads((rows.schema.metadata or {}).get(_FACTS.encode(), b"[]")))


def _encoded(
    inputs: Path, contract: Contract, labels: Path | None, layout: Layout, report: Report, part: Part
) -> Iterator[pa.Table]:
    """A part of the source as `encoding.ROWS`."""
    source = parts.sources(contract.kind)
    if isinstance(source, parts.EncodedSources):
        return encoding.merge(source.read_encoded(contract, inputs, labels, layout, report, part))
    return encoding.encode(source.read(contract, inputs, labels, layout, report), contract, part)


def _main() -> int:
    import resource

    job = json.load(sys.stdin)
    inputs = Path(job["inputs"])
    contract = kinds.of(job["contract"])
    try:
        import pyarrow.parquet  # noqa: F401  before the limit is set, so that the limit is for data alone

        base = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (base + job["memory"],) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["disk"],) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        labels = Path(job["labels"]) if job["labels"] else None
        part, facts, count = Part(job["start"], job["stop"], job["every"]), dict[str, None](), 0
        encoded = _encoded(inputs, contract, labels, Layout(**job["layout"]), facts.setdefault, part)
        with pa.OSFile(job["out"], "wb") as file, pa.ipc.new_file(file, encoding.ROWS) as writer:
            for rows in encoded:
                writer.write_table(rows)
                count += rows.num_rows
        if not count:
            raise Refusal("the source holds no record", inputs, parts.sources(contract.kind).HINT)
    except Refusal as refusal:
        return _refuse(refusal)
    except MemoryError:
        what = f"reading it takes more than {job['memory'] >> 20} MB of memory"
        return _refuse(Refusal(what, inputs, "Give smaller files, or raise RATCHET_INGEST_MEMORY_MB"))
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            what = f"its records take more than {job['disk'] >> 20} MB on disk"
            return _refuse(Refusal(what, inputs, "Give smaller files, or raise RATCHET_INGEST_DISK_MB"))
        message = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return _refuse(Refusal(f"the file cannot be read ({message})", inputs, "Give an intact file"))
    print(json.dumps(list(facts)))
    return 0


def _refuse(refusal: Refusal) -> int:
    print(json.dumps({"what": refusal.what, "which": refusal.which, "next": refusal.next}))
    return 3


if __name__ == "__main__":
    sys.exit(_main())
