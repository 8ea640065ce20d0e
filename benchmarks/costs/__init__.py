"""What the cost benchmarks consist of: workloads, contests, clocks and goals."""
