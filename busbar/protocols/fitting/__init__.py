"""What several dialects do alike with another dialect's request: each names what is its own, and the rest is here.

Two dialects that only look alike stay apart; a rule comes here when it is the same rule, as Claude's are, whether
Anthropic or Amazon serves the model.
"""
