"""Accuracy and speed, printed as tables: every `bench_*.py` has a `main()` that prints its own."""
