"""The routes for Ratchet alone, for a mount at `/ops`: recent answers and the log. The gateway does not route them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bentos import segments
from bentos.disk import run_on_disk
from bentos.inference import refusal_response
from bentos.prediction_log import PredictionLog
from bentos.recent_answers import RecentAnswers
from ratchet.endpoints import LOG, OPERATIONS, RECENT
from ratchet.errors import Refusal


def _below(path: str) -> str:
    """A route's path without the mount's."""
    return path.removeprefix(OPERATIONS)


@dataclass(frozen=True)
class Operations:
    recent_answers: RecentAnswers
    log: PredictionLog
    folder: Path | None
    """Of the recipe's log on this host, which several processes share."""

    def routes(self) -> list[Route]:
        """Without the prefix `/ops`."""
        return [
            Route(_below(RECENT), self.recent),
            Route(_below(LOG), self.listing),
            Route(f"{_below(LOG)}/{{name}}", self.segment),
            Route(f"{_below(LOG)}/{{name}}", self.remove, methods=["DELETE"]),
        ]

    async def recent(self, request: Request) -> JSONResponse:
        after = request.query_params.get("after", "0")
        return JSONResponse(self.recent_answers.after(int(after) if after.isdigit() and len(after) < 20 else 0))

    async def listing(self, request: Request) -> JSONResponse:
        """The complete segments, and the processes that wrote them; `?complete=1` first completes this process's."""
        folder = self.folder
        if folder is None or not await run_on_disk(folder.is_dir):
            return JSONResponse({"segments": [], "writers": []})
        if "complete" in request.query_params:
            await run_on_disk(self.log.complete_segments)
        # Writers first: a process that dies in between is finished the next time.
        writers = await run_on_disk(segments.writers, folder)
        names = await run_on_disk(segments.complete, folder)
        return JSONResponse({"segments": names, "writers": [asdict(writer) for writer in writers]})

    async def segment(self, request: Request) -> Response:
        def read(folder: Path, name: str) -> Response:
            return Response((folder / name).read_bytes(), media_type="application/x-ndjson")

        return await self._with(request, read)

    async def remove(self, request: Request) -> Response:
        """Removes a segment, or the counts of a process that is dead."""

        def remove(folder: Path, name: str) -> Response:
            segments.remove(folder, name)
            return JSONResponse({"removed": name})

        return await self._with(request, remove)

    async def _with(self, request: Request, work: Callable[[Path, str], Response]) -> Response:
        name = request.path_params["name"]

        def respond() -> Response:
            if self.folder is None or not segments.is_removable(self.folder, name):
                missing = Refusal("there is no such complete segment", name, "List them: /ops/log")
                return refusal_response(missing, 404)
            return work(self.folder, name)

        try:
            return await run_on_disk(respond)
        except OSError as error:
            what = f"the segment cannot be read ({error.strerror})"
            return refusal_response(Refusal(what, name, "Try again"), 503)
