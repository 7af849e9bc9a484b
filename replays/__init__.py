"""WHAT IF: past data played again, on a real stack by a clock that can be turned, or offline with other settings."""
