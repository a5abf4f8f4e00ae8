"""Going on with a streamed answer whose provider broke off in the middle of it.

    delivered     what of the answer the caller has
    watched       a same-dialect stream on its way, with an eye on what is delivered by it
    asking        the request by which another provider is asked to go on
    prefix        what a new answer has to say again before anything of it is new
    onward        what comes after a prefill
    places        where the blocks of the new answer go among those that the caller has
    joint         event by event, from the new stream to the caller's answer
    resumption    the other provider's stream, as the rest of the answer

A break is mended in one of two ways. With a *prefill* the delivered text is the last turn of the request, and the
model goes on from there. Without, the same request is made again, and what it says is skipped as long as it is what
the caller has. Where neither works the caller is told of the first failure.
"""

from __future__ import annotations

from busbar.protocols.resume.asking import prefill_of, prefilled
from busbar.protocols.resume.delivered import Delivered
from busbar.protocols.resume.prefix import Diverged
from busbar.protocols.resume.resumption import Resumption, caught_up
from busbar.protocols.resume.watched import Watched

__all__ = ["Delivered", "Diverged", "Resumption", "Watched", "caught_up", "prefill_of", "prefilled"]
