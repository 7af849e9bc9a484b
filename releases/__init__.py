"""WHICH: what should serve, and how the fleet gets there.

Pure: machine (step), reconcile (plan). Acting: controller, act, ledger.
"""
