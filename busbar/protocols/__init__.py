"""How dialects are spoken. Pure: bytes and values in, bytes and values out. The dialects are in `registry`."""
