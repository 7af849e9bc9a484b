"""Labels that come back for requests that were answered: checked, and written to the disk before they are accepted."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from bentos.caller import is_request_id
from bentos.disk import run_on_disk
from bentos.inference import refusal_response
from bentos.prediction_log import PredictionLog
from ratchet.answers import Answers
from ratchet.endpoints import FEEDBACK, MAX_BATCH, MAX_ID
from ratchet.errors import Refusal

_FIELDS = {"request_id", "row", "label"}
_LONGEST_LABEL = 4096
_SHAPE = 'Send {"request_id": "...", "label": ..., "row": 0}, or a list of these as "feedback"'


class Feedback:
    def __init__(self, recipe: str, answers: Answers, log: PredictionLog) -> None:
        self.recipe, self.answers, self.log = recipe, answers, log
        self.path = f"/{recipe}{FEEDBACK}"

    async def accept(self, request: Request) -> JSONResponse:
        """Labels of requests that were answered, by the response's `x-request-id`, and by the row of a batch."""
        try:
            labels = self._read(await request.body())
            await run_on_disk(self.log.add_feedback, labels)
        except Refusal as refusal:
            return refusal_response(refusal)
        return JSONResponse({"accepted": len(labels)}, status_code=202)

    def _read(self, body: bytes) -> list[Mapping[str, Any]]:
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refusal(f"the body is not JSON ({error})", self.path, _SHAPE) from error
        labels = content.get("feedback") if isinstance(content, dict) and "feedback" in content else [content]
        if not isinstance(labels, list) or not labels:
            raise Refusal("`feedback` is not a list of labels", self.path, _SHAPE)
        if len(labels) > MAX_BATCH:
            raise Refusal(f"there are {len(labels)} labels", self.path, f"Send at most {MAX_BATCH}")
        return [self._label(each, f"label {number}") for number, each in enumerate(labels)]

    def _label(self, fields: Any, which: str) -> dict[str, Any]:
        if not isinstance(fields, dict) or not {"request_id", "label"} <= fields.keys() <= _FIELDS:
            raise Refusal("its fields are not `request_id`, `label` and perhaps `row`", which, _SHAPE)
        request, row, label = fields["request_id"], fields.get("row", 0), text_of(fields["label"])
        if not isinstance(request, str) or not is_request_id(request):
            what = f"`request_id` is not a text of 1 to {MAX_ID} printable characters"
            raise Refusal(what, which, "Send the response's `x-request-id`")
        if type(row) is not int or not 0 <= row < MAX_BATCH:
            raise Refusal("`row` is not the number of a row, counted from 0", which, _SHAPE)
        if label is not None and len(label) > _LONGEST_LABEL:
            raise Refusal(f"the label has more than {_LONGEST_LABEL} characters", which, "Send what the task has")
        read_label(self.answers, label, self.recipe, which)
        return {"request": request, "row": row, "label": label}


def text_of(label: Any) -> str | None:
    """A label as JSON has it, as a file would have it."""
    if label is None or isinstance(label, str):
        return unicodedata.normalize("NFC", label) if label else label
    return json.dumps(label, ensure_ascii=False)


def read_label(answers: Answers, label: str | None, recipe: str, which: str) -> Any:
    """The label as the lake keeps it. Raises Refusal if the task has no such label, or none at all."""
    try:
        result = answers.read_label(label)
    except Refusal as refusal:
        choose = f"Choose one of: {', '.join(answers.classes)}" if answers.classes else refusal.next
        raise Refusal(f"the label {label!r} {refusal.what}"[:300], which, choose[:300]) from None
    if result is None:
        what = f"the task {answers.task} has no labels"
        raise Refusal(what, recipe, "Ingest the actual values: `ratchet ingest`")
    return result
