"""What do runs cost that outlive their process? One question a file; `python -m benchmarks.runs` asks them."""
