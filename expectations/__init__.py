"""IS IT FIT: what data must be, as Great Expectations suites; and drift."""
