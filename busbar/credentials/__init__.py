"""Where the credentials that go upstream come from while the gateway runs: keys that change, and minted tokens."""
