"""All state that outlives a request. Synchronous: a handler runs to its end and never awaits; actors meet only
through messages (`busbar.actors.messages`)."""
