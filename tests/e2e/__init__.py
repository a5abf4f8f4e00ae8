"""End to end: real sockets, real SDKs, the embedded providers."""
