"""Telemetry on its way out of the process: what formats it, and the ports that carry it. No request waits for it."""
