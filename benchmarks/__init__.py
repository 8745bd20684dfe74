"""Side-by-side measurements: every contender in one run, repeats interleaved, answers compared first."""
