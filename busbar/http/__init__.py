"""Sockets: ingress, upstream calls, control pages. Thin: coordinates, and holds no state beyond one request."""
