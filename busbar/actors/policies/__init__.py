"""Supervision policies that ship with Busbar beside the default, each written against the public interface only."""
