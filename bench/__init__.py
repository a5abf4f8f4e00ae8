"""`python -m bench`: the gateway beside nginx `proxy_pass`, in one interleaved run. See docs/benchmark.md."""
