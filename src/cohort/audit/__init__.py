"""The time-zero auditor: design faults that can be seen in the plan, before a row is read."""
