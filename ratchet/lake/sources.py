"""Reads a source file into rows, in a child process that cannot take more than it is given.

What a file is, its bytes say. Whatever it claims of its own size, the kernel holds the limits
(`RLIMIT_AS`, `RLIMIT_FSIZE`), so that no parser has to be trusted; nothing in it is ever run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.contract import ImageContract
from ratchet.errors import Refusal
from ratchet.lake import formats

ROWS = pa.schema(
    [
        ("name", pa.string()),
        ("image", pa.binary()),
        ("label", pa.string()),
        ("captured_at", pa.timestamp("us", tz="UTC")),
        ("reason", pa.string()),
        ("payload", pa.binary()),
    ]
)
"""`image` is the decoded array's bytes; `reason` says why a record is refused, `payload` is what came in."""

_PAYLOAD_LIMIT = 1 << 20
_SECONDS = 600


@dataclass(frozen=True)
class Limits:
    memory: int
    """Bytes beyond what the bare reader takes."""
    disk: int


def read(
    inputs: Path,
    contract: ImageContract,
    limits: Limits,
    scratch: Path,
    labels: Path | None = None,
    start: int = 0,
    stop: int | None = None,
) -> pa.Table:
    """The rows `start`..`stop` of a source, as `ROWS`; refused records are rows with a reason.

    Raises Refusal when the whole source is none of the known formats, broken, empty or too large.
    """
    out = scratch / "rows.arrow"
    job = {
        "inputs": str(inputs),
        "labels": str(labels) if labels else None,
        "start": start,
        "stop": stop,
        "contract": contract.to_json(),
        "memory": limits.memory,
        "disk": limits.disk,
        "out": str(out),
    }
    env = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2",
           "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ratchet.lake.sources"],
            input=json.dumps(job), capture_output=True, text=True, env=env, timeout=_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refusal(f"reading it takes longer than {_SECONDS} s", inputs, "Split it into smaller files") from None
    if done.returncode == 0:
        # Mapped, not read: the caller goes through it batch by batch.
        return pa.ipc.open_file(pa.memory_map(str(out))).read_all()
    out.unlink(missing_ok=True)
    try:
        raise Refusal(**json.loads(done.stdout))
    except (ValueError, TypeError):
        told = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise Refusal(
            f"the reader stopped (exit {done.returncode}: {told[:200]})",
            inputs,
            "The file is broken, or needs more than RATCHET_INGEST_MEMORY_MB",
        ) from None


def _row(record: formats.Record, contract: ImageContract) -> dict[str, Any]:
    """A record held to the contract; what does not hold becomes a row with its reason."""
    value, problem, image = record.value, record.problem, None
    if problem is None:
        try:
            image = _hold(record, contract)
        except Refusal as refusal:
            problem = refusal
    payload = value.tobytes() if isinstance(value, np.ndarray) else value
    return {
        "name": record.name, "label": record.label, "captured_at": record.captured_at,
        "image": image.tobytes() if image is not None else None,
        "reason": problem.what if problem else None,
        "payload": (payload or b"")[:_PAYLOAD_LIMIT] if problem else None,
    }  # fmt: skip


def _hold(record: formats.Record, contract: ImageContract) -> np.ndarray:
    value, name = record.value, record.name
    if value is None:
        raise Refusal("there is no image in it", name, "Give an image")
    if isinstance(value, bytes):
        return contract.decode(value, name)
    if record.flat:
        if len(value) != contract.height * contract.width:
            raise Refusal(f"it has {len(value)} pixels, not {contract.height * contract.width}", name, "Mend the row")
        return contract.check_numbers(value.reshape(1, *contract.shape), name)[0]
    return contract.check(value[None], name)[0]


def _main() -> int:
    import itertools
    import resource

    job = json.load(sys.stdin)
    inputs = Path(job["inputs"])
    contract = ImageContract(**job["contract"])
    try:
        import pyarrow.parquet  # noqa: F401  before the limit, so that it pays for data alone

        base = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (base + job["memory"],) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["disk"],) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        labels = Path(job["labels"]) if job["labels"] else None
        found = itertools.islice(formats.records(inputs, labels), job["start"], job["stop"])
        count = 0
        with pa.OSFile(job["out"], "wb") as file, pa.ipc.new_file(file, ROWS) as writer:
            while rows := [_row(r, contract) for r in itertools.islice(found, 4096)]:
                writer.write_table(pa.Table.from_pylist(rows, schema=ROWS))
                count += len(rows)
        if not count:
            raise Refusal("there is no record in it", inputs, formats.HINT)
    except Refusal as refusal:
        return _refuse(refusal)
    except MemoryError:
        return _refuse(Refusal(f"reading it takes more than {job['memory'] >> 20} MB of memory", inputs,
                               "Give smaller files, or raise RATCHET_INGEST_MEMORY_MB"))  # fmt: skip
    except Exception as error:
        told = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return _refuse(Refusal(f"the file cannot be read ({told})", inputs, "Give a whole file"))
    return 0


def _refuse(refusal: Refusal) -> int:
    print(json.dumps({"what": refusal.what, "which": refusal.which, "next": refusal.next}))
    return 3


if __name__ == "__main__":
    sys.exit(_main())
