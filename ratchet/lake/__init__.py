"""FROM WHAT: sources, table, snapshot, split, quarantine."""
