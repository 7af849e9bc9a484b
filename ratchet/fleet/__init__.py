"""WHERE: gateway (four verbs), supervisor, host, stack."""
