"""Sends sentences to people through the block of Prefect that `RATCHET_NOTIFY` names."""

import time

from flows.log import log
from ratchet.settings import settings
from releases.ledger import Ledger


def notify(subject: str, sentence: str) -> None:
    """Sends it, if there is a block; one that cannot be reached is logged and stops nothing."""
    if not settings().notify:
        return
    from prefect.blocks.core import Block

    try:
        block = Block.load(settings().notify)
        block.notify(sentence, subject=subject)  # type: ignore[union-attr]
    except Exception as error:  # each kind of block has its own
        log.warning("the block %s did not take a notification: %s", settings().notify, error)


def notify_once(ledger: Ledger, recipe: str, subject: str, key: str, sentence: str) -> None:
    """Sends it unless the last one of this subject had the same key."""
    name = subject.replace(" ", "-")
    last = ledger.statuses(name).get(recipe)
    if not last or last.body["key"] != key:
        notify(f"{recipe}: {subject}", sentence)
        ledger.publish(f"{name}:{recipe}", {"key": key}, time.time())
