"""The bento as it is served: right answers to right requests, sentences to wrong ones, from the host group alone."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from PIL import Image

from bentos import build, golden
from bentos.caller import CALLER, Caller, subject_digest
from bentos.recent_answers import RecentAnswers
from commands import label
from ratchet import lock
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Count, Gateway
from ratchet.fleet.host import Host
from ratchet.kinds.image import ImageContract
from ratchet.recipe import Bound, ReleasePlan
from ratchet.settings import TELEMETRY_OFF, Settings, settings
from ratchet.tasks.classification import Classification
from ratchet.types import Endpoint, Split, to_json
from releases import evidence_collector, log_collector
from releases.evidence import outcome
from releases.evidence_collector import EvidenceCollector, inputs
from releases.ledger import Ledger
from releases.log_reader import LogReader
from releases.metrics_reader import MetricsReader
from tests.bentos import enveloped, put, ready, until
from tests.conftest import Built, free_ports, host_alone

NAME = "small-fashion"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment that holds the host group alone, from the lock."""
    return str(host_alone(tmp_path_factory.mktemp("host") / "venv", "--no-install-project") / "python")


def serve(python: str, folder: Path, port: int, **env: str) -> subprocess.Popen[bytes]:
    command = [python, "-m", "bentoml", "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RATCHET", "PYTHON", "VIRTUAL"))}
    out = (folder.parent / f"serve-{port}.log").open("wb")
    full = {**clean, **TELEMETRY_OFF, "BENTOML_HOME": str(folder.parent / f"bentoml-{port}"), **env}
    return subprocess.Popen(command, stdout=out, stderr=out, env=full, start_new_session=True, cwd=folder)


def stop(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    process.wait(30)
    _, left = psutil.wait_procs(children, timeout=10)
    assert not left, "a worker outlived its master"


@pytest.fixture(scope="module")
def url(python: str, built: Built) -> Iterator[str]:
    (port,) = free_ports(1)
    process = serve(python, built.folder, port, RATCHET_LOG=str(built.folder.parent / "log"), RATCHET_LOG_MB="16")
    assert ready(port).status_code == 200
    yield f"http://127.0.0.1:{port}"
    stop(process)


def test_the_environment_and_the_bento_hold_nothing_heavier(python: str, built: Built) -> None:
    have = subprocess.run([python, "-c", "import importlib.metadata as m; print(*[d.name for d in m.distributions()])"],
                          capture_output=True, text=True, check=True).stdout.lower().split()  # fmt: skip
    assert not {"tensorflow", "keras", "mlflow", "great-expectations", "great_expectations"} & set(have)
    wanted = (built.folder / "env" / "python" / "requirements.txt").read_text().lower()
    assert not any(name in wanted for name in ("tensorflow", "prefect", "mlflow", "great"))
    for line in lock.requirements("bento").splitlines():
        assert line.split(";")[0].strip().lower() in wanted
    files = {
        str(p.relative_to(built.folder / "src"))
        for p in (built.folder / "src").rglob("*.*")
        if "__pycache__" not in str(p)
    }
    assert files == {
        "bentofile.yaml", "bentos/__init__.py", "bentos/request_guard.py", "bentos/model.py", "bentos/protocol.py",
        "bentos/inference.py", "bentos/openapi.py", "bentos/recent_answers.py", "bentos/service.py",
        "bentos/caller.py", "bentos/disk.py", "bentos/feedback.py", "bentos/operations.py", "bentos/prediction_log.py",
        "bentos/predictions.py", "bentos/admission.py", "bentos/segments.py", "bentos/rpc.py", "bentos/request_body.py",
        "bentos/grpc_messages.py", "ratchet/kinds/image/logged.py",
        "ratchet/__init__.py", "ratchet/answers.py", "ratchet/extension.py", "ratchet/tasks/__init__.py",
        "ratchet/tasks/classification/__init__.py", "ratchet/tasks/classification/answers.py",
        "ratchet/attribution.py", "ratchet/contract.py", "ratchet/endpoints.py", "ratchet/errors.py",
        "ratchet/kinds/__init__.py", "ratchet/kinds/image/__init__.py", "ratchet/kinds/image/contract.py",
        "ratchet/kinds/image/endpoint.py", "ratchet/session.py", "ratchet/tensors.py",
        "model/model_card.html", "model/model_card.json", "model/golden.npz", "model/meta.json", "model/model.onnx",
    }  # fmt: skip


def test_it_answers_its_golden_set(url: str, built: Built) -> None:
    verification = golden.replay(url, built.model)
    assert verification.count == 16
    assert verification.p50_ms > 0
    assert golden.device_of(url) == "cpu"


def test_a_golden_set_that_does_not_match_is_noticed(url: str, built: Built, tmp_path: Path) -> None:
    shutil.copyfile(built.model / "meta.json", tmp_path / "meta.json")
    expected = golden.read(built.model)
    golden.write(tmp_path, expected.inputs, np.roll(expected.outputs, 1, axis=1))
    with pytest.raises(Refusal, match="golden input 0"):
        golden.replay(url, tmp_path)


def test_every_protocol_gives_the_same_answer(url: str, built: Built) -> None:
    import tritonclient.http as triton

    images = built.images[:8]
    expected = built.exported.predict(images)
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata(NAME)["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    for binary in (True, False):
        tensor = triton.InferInput("image", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images, binary_data=binary)
        answer = client.infer(
            NAME, [tensor], outputs=[triton.InferRequestedOutput("probabilities", binary_data=binary)]
        )
        assert np.abs(answer.as_numpy("probabilities") - expected).max() < 1e-4
    answer = httpx.post(f"{url}/predict", json={"images": images.tolist()})
    assert np.abs(np.array(answer.json()["probabilities"]) - expected).max() < 1e-4
    out = io.BytesIO()
    Image.fromarray(images[0]).save(out, "PNG")
    one = httpx.post(f"{url}/classify", files={"image": ("a.png", out.getvalue(), "image/png")})
    assert np.abs(np.array(list(one.json()["probabilities"].values())) - expected[0]).max() < 1e-4
    assert one.json()["model_version"] == "1"
    for response in (answer, one, httpx.get(f"{url}/v2/health/ready"), httpx.get(f"{url}/nowhere")):
        assert (response.headers["x-model-version"], response.headers["x-bento"]) == ("1", built.tag)


def test_a_prediction_is_explained_and_many_explanations_wait_for_their_turn(url: str, built: Built) -> None:
    body = {"images": built.images[:1].tolist()}
    explained = httpx.post(f"{url}/explain", json=body).json()
    assert explained["label"] == httpx.post(f"{url}/predict", json=body).json()["label"]
    assert len(explained["attributions"]) == 64
    assert {tuple(each) for each in explained["attributions"]} == {("region", "weight")}
    weights = [each["weight"] for each in explained["attributions"]]
    assert max(weights) > 0.01
    top, bottom, left, right = explained["attributions"][weights.index(max(weights))]["region"]
    assert 0 <= top < bottom <= 28
    assert 0 <= left < right <= 28
    with ThreadPoolExecutor(16) as pool:
        many = list(pool.map(lambda _: httpx.post(f"{url}/explain", json=body, timeout=30), range(64)))
        answers = list(pool.map(lambda _: httpx.post(f"{url}/predict", json=body, timeout=30), range(64)))
    assert all(a.json()["attributions"] == explained["attributions"] for a in many)
    assert all(answer.status_code == 200 for answer in answers)


def test_an_explanation_whose_turn_does_not_come_is_refused_and_predictions_go_on(
    python: str, built: Built, tmp_path: Path
) -> None:
    folder, (port,) = tmp_path / "bento", free_ports(1)
    shutil.copytree(built.folder, folder)
    put(folder / "src" / "bentos" / "service.py", "_EXPLAIN_PATIENCE = 0.01\n", "\n\nasync def _explain_json(")
    process, body = serve(python, folder, port), {"images": built.images[:1].tolist()}
    try:
        assert ready(port).status_code == 200
        with ThreadPoolExecutor(32) as pool:
            url = f"http://127.0.0.1:{port}"
            many = [pool.submit(httpx.post, f"{url}/explain", json=body, timeout=30) for _ in range(32)]
            answer = httpx.post(f"{url}/predict", json=body, timeout=30)
            codes = {one.result().status_code for one in many}
            refused = next(one.result() for one in many if one.result().status_code == 429)
    finally:
        stop(process)
    assert codes == {200, 429}
    assert refused.json()["next"] == "Try again in a few seconds"
    assert answer.status_code == 200


good = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": [0] * 784}
INFER = f"/v2/models/{NAME}/infer"
big = b"0" * (9 << 20)
URL = "http://127.0.0.1:9/image.png"


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height)).save(out, "PNG")
    return out.getvalue()


WRONG = [
    ("flat", "/predict", {"json": {"images": [[0] * 784]}}),
    ("channels first", "/predict", {"json": {"images": [[[[0] * 28] * 28]]}}),
    ("56 by 28", "/predict", {"json": {"images": [[[0] * 28] * 56]}}),
    ("one image alone", "/predict", {"json": {"images": [[0] * 28] * 28}}),
    ("none", "/predict", {"json": {"images": []}}),
    ("floats", "/predict", {"json": {"images": [[[0.5] * 28] * 28]}}),
    ("texts", "/predict", {"json": {"images": [[["1"] * 28] * 28]}}),
    ("out of range", "/predict", {"json": {"images": [[[256] * 28] * 28]}}),
    ("too many", "/predict", {"json": {"images": [[[0] * 28] * 28] * 1025}}),
    ("a URL for an array", "/predict", {"json": {"images": URL}}),
    ("a URL as body", "/predict", {"content": URL, "headers": {"content-type": "application/json"}}),
    ("half of a JSON", "/predict", {"content": "{", "headers": {"content-type": "application/json"}}),
    ("deep JSON", "/predict", {"content": '{"images":' + "[" * 90000, "headers": {"content-type": "application/json"}}),
    ("no body", "/predict", {"headers": {"content-type": "application/json"}}),
    ("too large", "/predict", {"content": big, "headers": {"content-type": "application/json"}}),
    ("nothing to explain", "/explain", {"json": {"images": []}}),
    ("two to explain", "/explain", {"json": {"images": [[[0] * 28] * 28] * 2}}),
    ("no image to explain", "/explain", {"json": {"images": [[0] * 28]}}),
    ("no image", "/classify", {"files": {"image": ("a.png", b"nothing", "image/png")}}),
    ("an image too large", "/classify", {"files": {"image": ("a.png", png(32, 32), "image/png")}}),
    ("another field", "/classify", {"files": {"other": ("a.png", png(28, 28), "image/png")}}),
    ("two images", "/classify", {"files": [("image", ("a", png(28, 28))), ("image", ("b", png(28, 28)))]}),
    ("a URL in the form", "/classify", {"files": {"image": (None, URL)}}),
    ("a URL in a form of the other kind", "/classify", {"data": {"image": URL}}),
    ("a URL in JSON", "/classify", {"json": {"image": URL}}),
    ("no boundary", "/classify", {"content": "x", "headers": {"content-type": "multipart/form-data"}}),
    ("no JSON", INFER, {"content": b"\0\1"}),
    ("no inputs", INFER, {"json": {}}),
    ("another type", INFER, {"json": {"inputs": [{**good, "datatype": "FP32"}]}}),
    ("a flat tensor", INFER, {"json": {"inputs": [{**good, "shape": [1, 784]}]}}),
    ("too few numbers", INFER, {"json": {"inputs": [{**good, "data": [0]}]}}),
    ("a lying length", INFER, {"json": {"inputs": [good]}, "headers": {"inference-header-content-length": "99999"}}),
    ("a compressed body", INFER, {"content": b"x", "headers": {"content-encoding": "gzip"}}),
    ("another model", "/v2/models/other/infer", {"json": {"inputs": [good]}}),
    ("another version", f"/v2/models/{NAME}/versions/9/infer", {"json": {"inputs": [good]}}),
    ("no route", "/nowhere", {"json": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "request_"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_request_gets_a_sentence_and_never_a_500(path: str, request_: dict, url: str) -> None:
    answer = httpx.post(url + path, timeout=20, **request_)
    assert 400 <= answer.status_code < 500
    error = answer.json()
    assert set(error) == {"error", "which", "next"}
    assert all(isinstance(v, str) and v for v in error.values())
    assert "Traceback" not in answer.text
    assert "object at 0x" not in answer.text


@pytest.mark.parametrize(
    "path", ["/classify", "/predict", "/explain", INFER, "/v2", "/", "/docs.json", "/metrics", "/livez"]
)
def test_a_pickled_body_is_refused_on_every_route(path: str, url: str) -> None:
    headers = {"content-type": "application/vnd.bentoml+pickle", "buffer-lengths": "1"}
    assert httpx.post(url + path, content=b"cos\nsystem\n(S'false'\ntR.", headers=headers).status_code == 415


def test_errors_of_get_have_the_same_shape(url: str) -> None:
    for path in ("/nowhere", "/classify", "/v2/models/other", "/v2/nowhere", INFER):
        answer = httpx.get(url + path)
        assert answer.status_code in (404, 405)
        assert set(answer.json()) == {"error", "which", "next"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/classify", "POST"), ("DELETE", "/predict", "POST"), ("OPTIONS", INFER, "POST"), ("PUT", INFER, "POST"),
     ("DELETE", "/v2/models", "GET, HEAD"), ("POST", "/v2/health/live", "GET, HEAD"), ("PATCH", "/", "GET, HEAD")],
)  # fmt: skip
def test_a_wrong_method_is_told_the_right_one(method: str, path: str, allowed: str, url: str) -> None:
    answer = httpx.request(method, url + path)
    assert answer.status_code == 405
    assert {each.strip() for each in answer.headers["allow"].split(",")} == set(allowed.split(", "))
    assert answer.json()["next"] == f"Use {answer.headers['allow']}"


def test_any_printable_name_passes_through_every_file_of_a_bento(built: Built, tmp_path: Path) -> None:
    recipe = replace(
        recipes.load("fashion-mnist"),
        purpose='Says "🤷" to: #everything, ‮ or %s\u2028',
        task=Classification(tuple("🤷é:#%{}'\"&")),
    )
    outputs = built.exported.predict(built.images[:2])
    card = json.loads((built.model / "model_card.json").read_text())
    contents = build.Contents([built.exported.path], built.images[:2], outputs, {"package": "k" * 64}, card)
    _, bento = build.build(recipe, "1", contents, tmp_path)
    shutil.unpack_archive(bento, tmp_path / "unpacked", format="xztar")
    meta = json.loads((tmp_path / "unpacked" / "src" / "model" / "meta.json").read_text())
    assert tuple(meta["task"]["classes"]) == recipe.answers.classes
    assert "🤷" in (tmp_path / "unpacked" / "README.md").read_text()


ZEROS = {"/predict": {"images": [[[0] * 28] * 28]}, INFER: {"inputs": [good]}}


@pytest.mark.parametrize("path", ZEROS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json_in_utf_8_is_read_with_a_byte_order_mark_and_without(path: str, encoding: str, url: str) -> None:
    headers = {"content-type": "application/json"}
    assert httpx.post(url + path, content=json.dumps(ZEROS[path]).encode(encoding), headers=headers).status_code == 200


@pytest.mark.parametrize("path", ZEROS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_json_in_another_encoding_is_refused_with_the_right_one(path: str, encoding: str, url: str) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(url + path, content=json.dumps(ZEROS[path]).encode(encoding), headers=headers)
    assert (answer.status_code, answer.json()["next"]) == (400, "Send JSON in UTF-8")


def test_a_value_out_of_range_is_named_by_row_and_position(url: str) -> None:
    images = np.zeros((3, 28, 28), int)
    images[2, 5, 7] = 256
    for path, body in (
        ("/predict", {"images": images.tolist()}),
        (INFER, {"inputs": [{**good, "shape": [3, 28, 28], "data": images.ravel().tolist()}]}),
    ):
        error = httpx.post(url + path, json=body).json()["error"]
        assert error == "the value 256 in row 2 at position 5, 7 is outside 0..255"


def test_an_image_of_another_content_type_is_told_of_both_ways(url: str) -> None:
    answer = httpx.post(f"{url}/classify", content=png(28, 28), headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()["next"]) == (415, "Send multipart/form-data, or JSON to /predict")


def test_a_stock_client_gets_the_index_the_configuration_and_the_statistics(url: str) -> None:
    import tritonclient.http as triton

    client = triton.InferenceServerClient(url.removeprefix("http://"))
    (entry,) = client.get_model_repository_index()
    assert entry == {"name": NAME, "version": "1", "state": "READY", "reason": ""}
    config = client.get_model_config(NAME, "1")
    assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": [28, 28]}]
    assert config["output"][0] == {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [10]}
    assert config["max_batch_size"] == 1024

    def counts() -> tuple[int, int, int, int]:
        (stats,) = client.get_inference_statistics(NAME)["model_stats"]
        spent = stats["inference_stats"]
        return stats["inference_count"], spent["success"]["count"], spent["fail"]["count"], spent["success"]["ns"]

    before = counts()
    assert httpx.post(f"{url}/predict", json={"images": [[[0] * 28] * 28] * 5}).status_code == 200
    assert httpx.post(url + INFER, json={"inputs": []}).status_code == 400
    after = counts()
    assert [new - old for old, new in zip(before[:3], after[:3], strict=True)] == [5, 1, 1]
    assert after[3] > before[3]
    assert client.get_inference_statistics()["model_stats"][0]["name"] == NAME


def test_the_open_api_page_describes_what_callers_reach_and_nothing_else(url: str) -> None:
    page = httpx.get(f"{url}/docs.json").json()
    own = {f"/v2/models/{NAME}{end}" for end in ("", "/ready", "/config", "/stats", "/infer")}
    versioned = {f"/v2/models/{NAME}/versions/1{end}" for end in ("", "/ready", "/config", "/stats", "/infer")}
    server = {"/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/stats", "/v2/repository/index"}
    assert set(page["paths"]) == {"/classify", "/predict", "/explain", "/feedback"} | own | versioned | server
    for path, item in page["paths"].items():
        for method in item:
            assert httpx.request(method, url + path).status_code not in (404, 405), f"{method} {path}"
    assert "bentoml" not in json.dumps(page["info"].get("contact", "")).lower()
    assert httpx.get(url).status_code == 200


@pytest.mark.parametrize("how", ["gzip", "deflate", "raw deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_a_compressed_body_gets_the_same_answer(how: str, binary: bool, url: str, built: Built) -> None:
    """As Triton's client compresses it; `deflate` without zlib's header, too."""
    import tritonclient.http as triton

    tensor = triton.InferInput("image", [2, 28, 28], "UINT8")
    tensor.set_data_from_numpy(built.images[:2], binary_data=binary)
    body, length = triton.InferenceServerClient.generate_request_body([tensor])
    headers = {"inference-header-content-length": str(length)} if length else {}
    plain = httpx.post(url + INFER, content=body, headers=headers)
    packer = zlib.compressobj(wbits={"gzip": 31, "deflate": 15, "raw deflate": -15}[how])
    packed = packer.compress(body) + packer.flush()
    headers["content-encoding"] = how.rpartition(" ")[2]
    answer = httpx.post(url + INFER, content=packed, headers=headers)
    assert (answer.status_code, answer.content) == (200, plain.content)
    cut = httpx.post(url + INFER, content=packed[:-6], headers=headers)
    assert (cut.status_code, "compressed body does not end" in cut.json()["error"]) == (400, True)
    more = httpx.post(url + INFER, content=packed + b"more", headers=headers)
    assert more.status_code == 400


def test_a_body_that_unfolds_to_more_than_is_allowed_is_refused(url: str) -> None:
    packed = gzip.compress(bytes(64 << 20))
    assert len(packed) < 1 << 20
    answer = httpx.post(url + INFER, content=packed, headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]) == (413, "the body is larger than 8 MB")
    other = httpx.post(url + INFER, content=packed, headers={"content-encoding": "br"})
    assert (other.status_code, other.json()["next"]) == (415, "Send it uncompressed, or as gzip or deflate")


def test_a_crowd_of_large_batches_leaves_small_requests_and_health_alone(url: str, built: Built) -> None:
    over, codes = threading.Event(), list[int]()
    large = json.dumps({"images": np.zeros((1000, 28, 28), int).tolist()})

    def send() -> None:
        with httpx.Client(timeout=60) as client:
            while not over.is_set():
                headers = {"content-type": "application/json"}
                codes.append(client.post(f"{url}/predict", content=large, headers=headers).status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        with httpx.Client(timeout=5) as client:
            for _ in range(30):
                assert client.get(f"{url}/v2/health/ready").status_code == 200
                answer = client.post(f"{url}/predict", json={"images": built.images[:1].tolist()})
                assert answer.status_code == 200
                time.sleep(0.05)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert set(codes) == {200}


def test_a_large_batch_whose_caller_has_gone_is_given_up(url: str, built: Built) -> None:
    def rows() -> int:
        (stats,) = httpx.get(f"{url}/v2/models/{NAME}/stats").json()["model_stats"]
        return int(stats["inference_count"])

    body = json.dumps({"images": np.zeros((1000, 28, 28), int).tolist()}).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    before, (host, port) = rows(), url.removeprefix("http://").split(":")
    callers = [socket.create_connection((host, int(port))) for _ in range(8)]
    for caller in callers:
        caller.sendall(head.encode() + body)
    for caller in callers:
        caller.close()
    answer = httpx.post(f"{url}/predict", content=body, headers={"content-type": "application/json"}, timeout=60)
    assert answer.status_code == 200
    assert rows() - before <= 3000, "it comes after those that were in work, and not after all"


def test_what_comes_at_once_beyond_a_bound_is_refused_and_a_body_that_does_not_end_is_too(
    python: str, built: Built, tmp_path: Path
) -> None:
    folder, (port,) = tmp_path / "bento", free_ports(1)
    shutil.copytree(built.folder, folder)
    path, body = folder / "src" / "bentos" / "admission.py", json.dumps({"inputs": [good]}).encode()
    put(path, "MAX_AT_ONCE, TIME_LIMIT = 1, 2.0\n", 'T = TypeVar("T")\n')
    held = "        time.sleep(0.3)\n"  # so that the others are there when the event loop comes to them
    put(folder / "src" / "bentos" / "model.py", held, "        if len(inputs) <= SMALL_BATCH or")
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
    process = serve(python, folder, port)
    try:
        assert ready(port).status_code == 200
        with contextlib.ExitStack() as stack:
            address = "127.0.0.1", port
            callers = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(41)]
            callers[0].sendall(head)
            late = callers.pop(0).makefile("rb").read()
            for caller in callers:
                caller.sendall(head + body)
            answers = [caller.makefile("rb").read() for caller in callers]
        codes = Counter(answer.split()[1] for answer in answers)
        page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    finally:
        stop(process)
    assert late.split()[1] == b"408"
    assert codes.keys() == {b"200", b"503"}
    refused = next(answer for answer in answers if answer.split()[1] == b"503")
    assert b"requests came at once" in refused
    assert b"\r\nretry-after: 1\r\n" in refused
    assert b"\r\nx-model-version: 1\r\n" in refused
    assert f'_count{{endpoint="{INFER}",http_response_code="503"}} {float(codes[b"503"])}' in page


def test_many_small_inputs_are_answered_in_every_form(url: str, built: Built) -> None:
    """More than are answered on the event loop, in a body that is small."""
    images = np.zeros((40, 28, 28), int)
    expected = built.exported.predict(images.astype(np.uint8))
    answer = httpx.post(f"{url}/predict", json={"images": images.tolist()})
    assert np.abs(np.array(answer.json()["probabilities"]) - expected).max() < 1e-4
    assert httpx.post(f"{url}/predict", json={"images": {"a": [1]}}).status_code == 400


@pytest.fixture(scope="module")
def gateway(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real Envoy in front of the bento."""
    host, port = url.removeprefix("http://").split(":")
    ports = free_ports(2)
    config = Settings(home=tmp_path_factory.mktemp("gateway"), gateway_port=ports[0], envoy_admin_port=ports[1])
    with enveloped(config) as gateway:
        gateway.set_endpoints(NAME, {"v1-a": ((host, int(port)),)})
        gateway.set_split(NAME, Split({"v1-a": 100}))
        until(lambda: gateway.get_routes().healthy.get((NAME, "v1-a")))
        until(lambda: httpx.get(f"{config.gateway_url}/v2/models/{NAME}").status_code == 200)
        yield gateway


def test_triton_s_grpc_client_gets_the_same_answers_through_the_gateway(gateway: Gateway, built: Built) -> None:
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(f"127.0.0.1:{gateway.settings.gateway_port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.get_server_metadata().name == "ratchet"
    metadata = client.get_model_metadata(NAME, "1")
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [
        ("image", "UINT8", [-1, 28, 28])
    ]
    for count in (1, 8, 500):
        images = np.concatenate([built.images] * (count // len(built.images) + 1))[:count]
        tensor = triton.InferInput("image", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        answer = client.infer(NAME, [tensor], request_id="mine")
        assert answer.get_response().id == "mine"
        assert np.abs(answer.as_numpy("probabilities") - built.exported.predict(images)).max() < 1e-4
        assert answer.as_numpy("class").shape == (count,)
    only = client.infer(NAME, [tensor], outputs=[triton.InferRequestedOutput("class")])
    assert [each.name for each in only.get_response().outputs] == ["class"]


def test_grpc_says_what_was_wrong_in_a_sentence(gateway: Gateway, built: Built) -> None:
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(f"127.0.0.1:{gateway.settings.gateway_port}")

    def refused(shape: list[int], datatype: str = "UINT8", model: str = NAME, version: str = "") -> tuple[str, str]:
        tensor = triton.InferInput("image", shape, datatype)
        tensor.set_data_from_numpy(np.zeros(shape, np.uint8 if datatype == "UINT8" else np.float32))
        with pytest.raises(triton.InferenceServerException) as raised:
            client.infer(model, [tensor], version)
        return raised.value.status(), raised.value.message()

    assert refused([1, 784])[0] == "StatusCode.INVALID_ARGUMENT"
    assert "the shape is [1, 784], not [1..1024, 28, 28]" in refused([1, 784])[1]
    assert "the type is 'FP32', not 'UINT8'" in refused([1, 28, 28], "FP32")[1]
    assert "there is no such version: 9" in refused([1, 28, 28], version="9")[1]
    tensor = triton.InferInput("image", [1, 28, 28], "UINT8")
    tensor.set_data_from_numpy(built.images[:1])
    with pytest.raises(triton.InferenceServerException, match="the message is compressed") as compressed:
        client.infer(NAME, [tensor], compression_algorithm="gzip")
    assert compressed.value.status() == "StatusCode.UNIMPLEMENTED"
    status, message = refused([1, 28, 28], model="other")
    assert (status, "nothing is served at this path" in message) == ("StatusCode.UNIMPLEMENTED", True)


def test_typed_contents_of_grpc_are_read_and_what_is_no_message_is_refused(gateway: Gateway, built: Built) -> None:
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{gateway.settings.gateway_port}") as channel:
        for method, request in (
            ("RepositoryIndex", service_pb2.RepositoryIndexRequest()),
            ("ModelConfig", service_pb2.ModelConfigRequest(name=NAME)),
            ("ModelStatistics", service_pb2.ModelStatisticsRequest(name=NAME)),
        ):
            with pytest.raises(grpc.RpcError) as unsupported:
                channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(
                    request.SerializeToString(), timeout=10
                )
            assert unsupported.value.code() == grpc.StatusCode.UNIMPLEMENTED
            assert f"the method is not supported: {method}" in unsupported.value.details()
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name=NAME)
        tensor = request.inputs.add(name="image", datatype="UINT8", shape=[1, 28, 28])
        tensor.contents.uint_contents.extend(built.images[0].ravel().tolist())
        answer = stub.ModelInfer(request)
        for call in (stub.ModelReady, stub.ModelMetadata):
            kind = service_pb2.ModelReadyRequest if call is stub.ModelReady else service_pb2.ModelMetadataRequest
            with pytest.raises(grpc.RpcError) as unknown:
                call(kind(name=NAME, version="9"))
            assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
        outputs = np.frombuffer(answer.raw_output_contents[0], np.float32)
        assert np.abs(outputs - built.exported.predict(built.images[:1])[0]).max() < 1e-4
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for body in (b"", b"nonsense", b"\n\xff", b"\n\x0d" + NAME.encode() + b"\xff", b"\n\x03a b"):
            with pytest.raises(grpc.RpcError) as raised:
                call(body, timeout=10)
            assert raised.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
            assert raised.value.details()
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary("/inference.GRPCInferenceService/ModelStreamInfer")(b"", timeout=10)
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", ["/nowhere-{}", "/v2/models/other-{}/infer", "/v2/nowhere-{}", "/ops/log/nothing-{}"])
def test_paths_that_callers_invent_leave_nothing_behind(path: str, url: str) -> None:
    for number in range(3):
        for method in ("GET", "POST"):
            assert httpx.request(method, url + path.format(number)).status_code in (404, 405)
    assert path.partition("-")[0] not in httpx.get(f"{url}/metrics").text


def overflowing(path: Path) -> None:
    """A model whose second output is not finite for an image with a white first pixel."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Slice", ["flat", "start", "stop", "axis"], ["first"]),
        helper.make_node("Sub", ["limit", "first"], ["left"]),
        helper.make_node("Sqrt", ["left"], ["probabilities"]),
    ]
    constants = [helper.make_tensor(name, TensorProto.INT64, [1], [value])
                 for name, value in (("start", 0), ("stop", 10), ("axis", 1))]  # fmt: skip
    constants.append(helper.make_tensor("limit", TensorProto.FLOAT, [1], [254.5]))
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 28, 28, 1])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def test_an_answer_that_is_not_finite_is_the_models_fault_and_says_where(
    python: str, built: Built, tmp_path: Path
) -> None:
    folder, (port,) = tmp_path / "bento", free_ports(1)
    shutil.copytree(built.folder, folder)
    overflowing(folder / "src" / "model" / "model.onnx")
    process, images = serve(python, folder, port), np.zeros((3, 28, 28), int)
    try:
        assert ready(port).status_code == 200
        url = f"http://127.0.0.1:{port}"
        assert httpx.post(f"{url}/predict", json={"images": images.tolist()}).status_code == 200
        images[1, 0, 0] = 255
        bodies: dict[str, Any] = {
            "/predict": {"images": images.tolist()},
            "/explain": {"images": images[1:2].tolist()},
            INFER: {"inputs": [{**good, "shape": [3, 28, 28], "data": images.ravel().tolist()}]},
        }
        for path, body in bodies.items():
            answer = httpx.post(url + path, json=body)
            assert answer.status_code == 500, "a failure of the revision"
            row = 0 if path == "/explain" else 1
            assert (
                answer.json()["error"] == f"the model's output 'probabilities' is not finite for row {row} of the batch"
            )
            assert answer.json()["which"] == built.tag
            assert answer.json()["next"].startswith("Trying again does not help")
    finally:
        stop(process)


def test_the_bento_serves_its_model_card(url: str) -> None:
    answer = httpx.get(f"{url}/card", follow_redirects=True)
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "built for tests" in answer.text.lower()


def test_latency_is_measured_below_a_millisecond(url: str) -> None:
    httpx.post(f"{url}/predict", json={"images": [[[0] * 28] * 28]})
    assert 'le="0.0004"' in httpx.get(f"{url}/metrics").text


def test_a_worker_dies_with_its_killed_master_and_frees_the_port(python: str, built: Built) -> None:
    (port,) = free_ports(1)
    process = serve(python, built.folder, port)
    ready(port)
    worker = psutil.Process(process.pid).children()[0]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs([worker], timeout=10)[1] == []
    again = serve(python, built.folder, port)
    assert ready(port).status_code == 200
    stop(again)


def test_a_host_without_the_gpu_that_it_should_use_is_not_ready_and_says_why(python: str, built: Built) -> None:
    (port,) = free_ports(1)
    process = serve(python, built.folder, port, RATCHET_DEVICE="gpu")
    answer = ready(port)
    assert answer.status_code == 503
    assert "gpu" in answer.json()["error"]
    assert Host(Settings()).health(NAME, port) == (False, answer.json()["error"]), "its host reports it"
    assert httpx.get(f"http://127.0.0.1:{port}/v2/models/{NAME}/ready").status_code == 503
    one = {"images": built.images[:1].tolist()}
    picture = io.BytesIO()
    Image.fromarray(built.images[0]).save(picture, "PNG")
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/predict", {"json": one}), ("/explain", {"json": one}), (INFER, {"json": {"inputs": [good]}}),
        ("/classify", {"files": {"image": ("a.png", picture.getvalue(), "image/png")}}),
    ]  # fmt: skip
    for path, body in requests:
        refused = httpx.post(f"http://127.0.0.1:{port}{path}", **body)
        assert (refused.status_code, refused.json()) == (503, answer.json()), "it does not answer from a CPU instead"
    stop(process)


def test_requests_in_progress_are_finished_when_it_is_stopped(python: str, built: Built) -> None:
    (port,) = free_ports(1)
    process = serve(python, built.folder, port)
    ready(port)
    body = json.dumps({"images": np.zeros((900, 28, 28), int).tolist()})
    codes: list[int] = []
    headers = {"content-type": "application/json"}

    def post() -> None:
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", content=body, headers=headers, timeout=30)
        codes.append(answer.status_code)

    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    (worker,) = psutil.Process(process.pid).children()
    until = time.monotonic() + 20
    while sum(c.status == "ESTABLISHED" for c in worker.net_connections()) < 3:
        assert time.monotonic() < until, "the service took no connection"
        time.sleep(0.02)
    time.sleep(0.3)  # an accepted connection without a request is closed
    process.terminate()
    for thread in threads:
        thread.join()
    assert process.wait(30) == 0
    assert codes == [200, 200, 200]


def predict(url: str, id: str, image: np.ndarray) -> None:
    headers = {"x-request-id": id}
    assert httpx.post(f"{url}/predict", json={"images": [image.tolist()]}, headers=headers).status_code == 200


def test_a_recent_answer_has_its_request_id_and_its_raw_input_if_the_recipe_allows_it(url: str, built: Built) -> None:
    before = httpx.get(f"{url}/ops/recent", params={"after": 1 << 60}).json()
    predict(url, "one", built.images[0])
    golden.replay(url, built.model)  # of no id, so of no caller: not recorded
    predict(url, "one", built.images[1])
    now = httpx.get(f"{url}/ops/recent", params={"after": before["next"]}).json()
    ids = [r["id"] for r in now["answers"]]
    assert len(ids) == 2
    assert len(set(ids)) == 2, "the same id for another input is another request"
    assert base64.b64decode(now["answers"][0]["input"]) == built.images[0].tobytes()
    assert httpx.get(f"{url}/ops/recent", params={"after": "nonsense"}).status_code == 200
    silent = RecentAnswers(ImageContract(28, 28), Classification(tuple("0123456789")), keep_inputs=False)
    token = CALLER.set(Caller("two"))
    silent.add(built.images[:2], np.eye(10, dtype=np.float32)[[3, 4]])
    CALLER.reset(token)
    assert [(r["answer"], r["input"]) for r in silent.after(0)["answers"]] == [(3, "")]


def logged(url: str, kind: str) -> list[dict[str, Any]]:
    """The lines of every complete segment, which are then removed."""
    host, port = url.removeprefix("http://").split(":")
    reader = LogReader((host, int(port)))
    lines = []
    for segment in reader.listing().segments:
        if segment.kind == kind:
            lines += [json.loads(line) for line in reader.read(segment).splitlines()]
            reader.remove(segment.name)
            reader.remove(segment.name)  # once more after a kill
    reader.close()
    return lines


def test_predictions_are_logged_with_who_asked_and_ratchets_own_are_marked(url: str, built: Built) -> None:
    logged(url, "predictions")
    body = {"images": built.images[:2].tolist()}
    for id, headers in (("mine", {"x-subject-id": "Ann"}), ("mirrored", {"host": "example.org-shadow"})):
        assert httpx.post(f"{url}/predict", json=body, headers={"x-request-id": id, **headers}).status_code == 200
    httpx.post(f"{url}/predict", json=body)  # without an id
    golden.replay(url, built.model)
    lines = logged(url, "predictions")
    assert [(line["request"], line["row"], line["origin"]) for line in lines] == [
        ("mine", 0, "caller"), ("mine", 1, "caller"), ("mirrored", 0, "shadow"), ("mirrored", 1, "shadow"),
    ]  # fmt: skip
    assert lines[0]["subject"] == subject_digest(NAME, "Ann")
    assert abs(sum(lines[0]["output"]) - 1) < 1e-5
    assert lines[0]["statistics"]["mean"] == pytest.approx(built.images[0].mean())
    assert logged(url, "predictions") == [], "they are removed"


def test_the_log_of_a_host_is_read_although_an_endpoint_of_it_has_just_ended(
    url: str, built: Built, home: Path
) -> None:
    host, port = url.removeprefix("http://").split(":")
    ended, alive = (
        Endpoint(NAME, revision, "here", host, number, "running", True)
        for revision, number in (("v0-a", free_ports(1)[0]), ("v1-a", int(port)))
    )
    ledger = Ledger(settings().ledger)
    for endpoints in ([ended, alive], [alive, ended]):
        ledger.publish("host:here", {"endpoints": [to_json(each) for each in endpoints]}, time.time())
        logged(url, "predictions")
        predict(url, "collected", built.images[0])
        collected = log_collector.collect(recipes.load(NAME), "tester", lambda line: None, ledger)
        assert (collected.predictions, collected.problems) == (1, ())
    ledger.publish("host:here", {"endpoints": [to_json(ended)]}, time.time())
    (problem,) = log_collector.collect(recipes.load(NAME), "tester", lambda line: None, ledger).problems
    assert "host here" in problem


@pytest.mark.parametrize("name", ["../meta.json", "..%2f..%2fetc%2fpasswd", "predictions-x-1.jsonl", "nothing.counts"])
def test_no_other_file_is_read_or_removed_by_way_of_the_log(url: str, name: str) -> None:
    for method in ("GET", "DELETE"):
        assert httpx.request(method, f"{url}/ops/log/{name}").status_code in (404, 405)


def test_the_counts_of_a_living_process_cannot_be_removed(url: str) -> None:
    (writer,) = (each for each in httpx.get(f"{url}/ops/log").json()["writers"] if each["alive"])
    assert httpx.delete(f"{url}/ops/log/{writer['process']}.counts").status_code == 404


@pytest.mark.parametrize("one", [True, False])
def test_feedback_is_on_the_disk_when_it_is_accepted(url: str, one: bool) -> None:
    label = {"request_id": "mine", "label": "Bag", "row": 1}
    response = httpx.post(f"{url}/feedback", json=label if one else {"feedback": [label]})
    assert (response.status_code, response.json()) == (202, {"accepted": 1})
    (line,) = logged(url, "feedback")
    assert (line["request"], line["row"], line["label"]) == ("mine", 1, "Bag")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"request_id": "a", "label": "hat"}, 400, "not one of the 10 classes"),
        ({"request_id": "a"}, 400, "its fields are not"),
        ({"request_id": "", "label": "Bag"}, 400, "1 to 64 printable characters"),
        ({"request_id": "a", "label": "Bag", "row": -1}, 400, "not the number of a row"),
        ({"request_id": "a", "label": "Bag", "row": True}, 400, "not the number of a row"),
        ({"request_id": "a", "label": "x" * 5000}, 400, "more than 4096 characters"),
        ({"request_id": "a", "label": None}, 400, "is not one of the 10 classes"),
        ({"feedback": []}, 400, "is not a list of labels"),
        ({"feedback": [{"request_id": "a", "label": "Bag"}] * 1025}, 400, "there are 1025 labels"),
        ("nothing", 400, "its fields are not"),
    ],
)
def test_wrong_feedback_is_refused_as_a_whole_with_a_sentence(url: str, body: Any, status: int, words: str) -> None:
    response = httpx.post(f"{url}/feedback", json=body)
    assert response.status_code == status
    assert words in response.json()["error"]
    assert logged(url, "feedback") == []


def test_a_readers_metrics_are_those_since_it_was_created(url: str, built: Built) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader = MetricsReader((host, int(port)))
    assert reader.read() == []
    for number in range(7):
        predict(url, f"id {number}", built.images[number])
    answers = reader.read()
    assert len(answers) == 7
    assert reader.cumulative[float("inf")] == 7
    assert [reader.cumulative[at] for at in sorted(reader.cumulative)] == sorted(reader.cumulative.values()), "rising"
    reader.reset()
    predict(url, "last", built.images[0])
    reader.read()
    assert reader.cumulative[float("inf")] == 1
    assert {*(f"id {number}" for number in range(7)), "last"} <= reader.recent_requests()
    with pytest.raises(Refusal, match="cannot be read"):
        MetricsReader(("127.0.0.1", 1)).read()


def test_labels_of_requests_that_nobody_was_answered_under_are_counted_and_told(
    url: str, built: Built, home: Path, tmp_path: Path
) -> None:
    host, port = url.removeprefix("http://").split(":")
    predict(url, "answered", built.images[0])
    Ledger(settings().ledger).publish(f"gateway:{NAME}", {"addresses": {"v1-a": [[host, int(port)]]}}, time.time())
    file, class_ = tmp_path / "from excel.csv", recipes.load(NAME).answers.classes[0]
    file.write_bytes(f"x-request-id;class\r\nanswered;{class_}\r\nmistyped;{class_}\r\n".encode("utf-8-sig"))
    result = CliRunner().invoke(label.command, [NAME, str(file)])
    assert result.exit_code == 0, result.output
    assert "labels read: 2" in result.output
    assert "of a request that was not answered lately: 1, such as mistyped" in result.output
    assert set(Ledger(settings().ledger).labels_since(NAME, 0)) == {"answered", "mistyped"}


def test_a_collector_sends_both_revisions_the_same_inputs_and_finds_a_bento_no_worse_than_itself(
    url: str, built: Built
) -> None:
    """The comparison of a release, with a bento against itself; recorded and golden inputs first, each once."""
    host, port = url.removeprefix("http://").split(":")
    plan = ReleasePlan(failed=Bound(0.0, 0.1), latency_p50=Bound(0.3, 0.6), latency_p99=Bound(0.3, 0.6))
    collector = EvidenceCollector(NAME, plan, lambda: golden.read(built.model), own_requests_only=True, pause=0.0)
    collector.addresses = (((host, int(port)),), ((host, int(port)),))
    try:
        until = time.monotonic() + 60
        while outcome(checks := collector.checks((Count(), Count()))[0]) != "passed":
            assert time.monotonic() < until, checks
            time.sleep(0.2)
    finally:
        collector.stop()
    collected = collector.collected
    assert collected.disagreed == 0
    assert collected.compared > 100
    assert collected.recorded == 16, "the golden set's, each counted once"
    assert collected.synthetic >= collected.compared - 20


@pytest.mark.parametrize("few_callers", [True, False])
def test_a_step_waits_for_callers_unless_the_one_before_had_too_few(
    url: str, built: Built, monkeypatch: pytest.MonkeyPatch, few_callers: bool
) -> None:
    monkeypatch.setattr(evidence_collector, "_WAIT_SECONDS", 3600.0)
    host, port = url.removeprefix("http://").split(":")
    collector = EvidenceCollector(
        NAME, ReleasePlan(), lambda: golden.read(built.model), False, pause=0.0, few_callers=few_callers
    )
    collector.addresses = (((host, int(port)),), ((host, int(port)),))
    try:
        until = time.monotonic() + (60 if few_callers else 2)
        while collector.collected.compared < 10 and time.monotonic() < until:
            collector.checks((Count(), Count()))
            time.sleep(0.1)
        assert (collector.collected.compared >= 10) == few_callers
        assert collector.had_few_callers()
        collector.checks((Count(100_000, 0), Count()))
        assert not collector.had_few_callers()
    finally:
        collector.stop()


def test_a_host_that_is_gone_counts_against_neither_revision_and_none_advances(url: str, built: Built) -> None:
    host, port = url.removeprefix("http://").split(":")
    revision, gone = (host, int(port)), (host, free_ports(1)[0])
    collector = EvidenceCollector(
        NAME, ReleasePlan(), lambda: golden.read(built.model), own_requests_only=True, pause=0.0
    )
    collector.addresses = ((revision, gone), (revision, gone))
    try:
        until = time.monotonic() + 60
        while (result := collector.checks((Count(), Count())))[0][0].value is None or collector.collected.compared < 10:
            assert time.monotonic() < until, result
            time.sleep(0.2)
    finally:
        collector.stop()
    checks, worse = result
    assert worse is None, "not both revisions fail"
    assert checks[0].value == 0, checks[0]
    assert outcome(checks) == "error", "it waits until the host is back, or known to be gone"


def test_own_requests_are_recorded_ones_first_then_golden_then_synthetic(built: Built) -> None:
    left = [built.images[5].tobytes()]
    generated = inputs(lambda: left.pop() if left else None, golden.read(built.model))
    first = [next(generated) for _ in range(20)]
    assert [kind for kind, _ in first] == ["recorded"] * 17 + ["synthetic"] * 3
    assert (first[0][1] == built.images[5]).all()
    assert all(image.shape == (1, 28, 28) and image.dtype == np.uint8 for _, image in first)
