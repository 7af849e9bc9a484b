"""Sends sentences to people through the block of Prefect that `RATCHET_NOTIFY` names."""

from flows.log import log
from ratchet.settings import settings


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
