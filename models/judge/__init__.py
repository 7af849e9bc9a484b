"""The judge: takes figures, returns a verdict. No I/O, no clock."""
