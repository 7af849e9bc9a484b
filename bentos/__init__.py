"""SERVED: the BentoML service, its protocol, golden set, build. `service`, `door` and `protocol` travel in the bento."""
