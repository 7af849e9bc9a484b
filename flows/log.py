"""The logger of the flows. Prefect keeps its lines with the run, under a name of their own."""

import logging

NAME = "ratchet"
"""What `ratchet loop` shows; Prefect's own lines have other names."""
logging.getLogger(NAME).setLevel(logging.INFO)  # Prefect gives an extra logger a handler, and no level
log = logging.getLogger(f"{NAME}.flows")
