"""WHEN: the order of events. The only room that imports prefect."""
