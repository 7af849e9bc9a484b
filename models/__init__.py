"""LEARNT: training, evaluation, export, variants and the registry."""
