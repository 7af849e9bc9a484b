"""SERVED: the BentoML service, its protocol, golden set, build."""
