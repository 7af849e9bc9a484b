"""The evaluation: takes outputs and figures, returns checks and a report. No I/O, no clock."""
