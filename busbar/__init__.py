"""Busbar: a self-hosted LLM gateway built from actors. One feed in, many breakered circuits out."""

__version__ = "0.1.0"
