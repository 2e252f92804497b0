"""What it costs, beside what others pay for the same: `python -m benchmarks [name …]`."""
