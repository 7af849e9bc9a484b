"""WHICH: what should serve, and how the fleet gets there.

Pure: machine, transitions, evidence, reconcile. Acting: controller, agent, ledger.
"""
