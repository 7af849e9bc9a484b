"""The floor: what would stay if models were something else."""
