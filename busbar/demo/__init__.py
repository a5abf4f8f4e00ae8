"""The demonstration: embedded providers, and a gateway in front of them. No keys, no network."""
