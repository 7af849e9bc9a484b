"""SERVED: the BentoML service, its protocol, request guard, golden set and build."""
