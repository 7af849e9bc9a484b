"""WHAT IF: past data played again, on a real stack by a clock that can be turned, or offline with other settings."""

POLICIES = ("never", "nightly", "always fire", "cost-aware", "loop")
"""What starts retrainings: others' policies, and Ratchet's own."""
OWN, STACK = "loop, as it is", "the real stack"
"""Ratchet's own with the recipe's settings, beside others in a what-if; and what was not offline."""
