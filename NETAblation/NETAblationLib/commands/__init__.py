"""The commands of `netablation`, one module for each or for a close family: its arguments and what it runs."""
