"""FOR WHOM: one file a model, data only. Adding a model is adding a file here."""
