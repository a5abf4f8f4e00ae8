"""One simulated request: it takes the very `Journey` that the relay takes, through scripted attempts.

As in the relay, each assignment is answered by one `Report` or `Release`. The request ends exactly once: answered,
broken off, refused, or given up by its caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pykka
from msgspec.structs import replace

from busbar.actors.journey import Ask, Destination, Failing, GiveUp, Journey, Step, Try, Verdict, Wait
from busbar.actors.messages import Assignment, Exhausted, Route, Withdraw
from busbar.actors.runtime import MailboxFull
from busbar.actors.selection import Demand
from busbar.actors.supervision import Outcome
from busbar.protocols.failures import Disposition, FailureClass, disposition
from busbar.simulation.course import Answer, Course, course
from busbar.simulation.providers import Wish
from busbar.simulation.record import Outcome as Ending
from busbar.simulation.world import Answered, Reply

if TYPE_CHECKING:
    from busbar.actors.runtime import Timer
    from busbar.simulation.runner import Run


class Traveller:
    """`outcome` is one of record.OUTCOMES once the request has ended, and None until then."""

    __slots__ = (
        "_answer",
        "_asked",
        "_assignment",
        "_attempt_at",
        "_course",
        "_hang_up",
        "_left",
        "_next",
        "_number",
        "_run",
        "_session",
        "asked_of",
        "began_at",
        "destination",
        "ended_at",
        "journey",
        "members",
        "outcome",
        "resumed",
        "started_at",
        "waited",
        "wish",
    )

    def __init__(self, run: Run, number: int, destination: Destination, wish: Wish, session: str | None) -> None:
        self._run = run
        self._number = number
        self._session = session
        self.destination = destination
        """What the caller asked for."""
        self.asked_of = destination
        """Where the journey is."""
        self.wish = wish
        now = run.world.clock.now()
        route = Route(request_id=str(number))
        self.journey = Journey(destination, run.world.destinations.pools, route, now)
        self.members: tuple[str, ...] = ()
        """Where it was, in order."""
        self.started_at = now
        self.began_at: float | None = None
        """The caller's first byte."""
        self.ended_at = now
        self.outcome: Ending | None = None
        self.waited = False
        """In a pool's queue."""
        self.resumed = False
        """Its answer has begun and broken off, and another member was asked to go on."""
        self._left = wish.output_tokens
        """Of the answer, for whoever goes on with it."""
        self._assignment: Assignment | None = None
        self._answer: Answer | None = None
        self._course: Course | None = None
        self._attempt_at = now
        self._asked: Answered | None = None
        self._next: Timer | None = None
        self._hang_up: Timer | None = None

    def begin(self, hang_up_secs: float | None) -> None:
        """`hang_up_secs`: when its caller goes away, unless it has its answer by then."""
        if hang_up_secs is not None:
            self._hang_up = self._run.world.clock.call_later(hang_up_secs, self.hang_up)
        self._follow(self.journey.begin())

    # --- the journey

    def _follow(self, step: Step) -> None:
        """Until the request has to wait for something."""
        clock = self._run.world.clock
        while True:
            match step:
                case Ask(there, route):
                    reply = self._ask(there, route)
                    if reply is None:
                        return
                    step = self._told(reply)
                case Try(assignment, available_secs):
                    self._try(assignment, available_secs)
                    return
                case Wait(secs):
                    self._next = clock.call_later(secs, self._waited)
                    return
                case GiveUp(verdict, _):
                    self._give_up(verdict)
                    return

    def _ask(self, there: Destination, route: Route) -> Reply | None:
        """None: the request waits in the pool's queue."""
        self.asked_of = there
        if there.session_header is not None and self._session is not None:
            route = replace(route, session=self._session)
        if there.estimates:
            route = replace(route, demand=Demand(self.wish.input_tokens, self.wish.output_tokens))
        future = self._run.world.ask(there.ref, route)
        if not future.done():
            self.waited = True
            self._asked = future
            future.late = self._late
            self._run.waits(self)
            return None
        reply = _reply(future)
        if isinstance(reply, Assignment):
            self._run.assigned(self, reply)
        return reply

    def _late(self) -> None:
        """The pool has answered, in a turn of its own: the request goes on after that."""
        assert self._asked is not None, "it waits"
        if self._run.stopped:
            return
        reply = _reply(self._asked)
        if isinstance(reply, Assignment):
            self._run.assigned(self, reply)
        self._run.soon(self._goes_on)

    def _goes_on(self) -> None:
        assert self._asked is not None, "it was waited for"
        reply = _reply(self._asked)
        self._asked = None
        if self.outcome is None:
            self._follow(self._told(reply))
        elif isinstance(reply, Assignment):  # its caller has gone meanwhile
            self._run.give_back(reply, None, refund=True)

    def _told(self, reply: Reply) -> Step:
        now = self._run.world.clock.now()
        if isinstance(reply, Exhausted):
            return self.journey.exhausted(reply, now)
        self.members = (*self.members, reply.member)
        return self.journey.assigned(reply, now)

    def _waited(self) -> None:
        self._next = None
        self._follow(self.journey.waited())

    def _give_up(self, verdict: Verdict) -> None:
        if self.began_at is not None:
            self._end("broken")
            return
        match verdict:
            case Verdict.DEADLINE:
                self._end("deadline")
            case Verdict.EXHAUSTED:
                self._end("exhausted")
            case Verdict.FAILED:
                assert self._course is not None, "at least one attempt was made"
                assert self._course.failure is not None, "and it failed"
                kind = disposition(self._course.failure)
                fault = kind in (Disposition.CLIENT_FAULT, Disposition.CONTEXT_LENGTH)
                self._end("client_error" if fault else "failed")

    # --- one attempt

    def _try(self, assignment: Assignment, available_secs: float) -> None:
        run, wish = self._run, self.wish
        if self.resumed:
            wish = Wish(stream=True, input_tokens=wish.input_tokens, output_tokens=max(1, self._left))
        self._assignment = assignment
        self._attempt_at = now = run.world.clock.now()
        self._answer = answer = run.models[assignment.member].answer(wish, run.world.now)
        self._course = course(
            answer,
            assignment.terms.timeouts,
            available_secs,
            stream=wish.stream,
            hold_secs=self.asked_of.hold_secs,
        )
        self._next = run.world.clock.call_at(now + self._course.ends, self._attempt_ended)

    def _attempt_ended(self) -> None:
        self._next = None
        assignment, path, answer = self._assignment, self._course, self._answer
        assert assignment is not None, "an attempt ends that was made"
        assert path is not None, "and it had a course"
        assert answer is not None, "and an answer"
        self._assignment = None
        failure, run = path.failure, self._run
        tokens = 0 if path.begins is None else path.tokens_until(answer, path.ends)
        if self._diverges(path, assignment.member):
            run.attempted(self, assignment, "diverged", tokens)
            run.give_back(assignment, None, refund=False)
            self._goes_on_after(FailureClass.CLIENT_ERROR, None)
            return
        run.attempted(self, assignment, "ok" if failure is None else failure.value, tokens)
        own_account = failure is not None and self._of_own_account(failure)
        outcome = None
        if path.verdict and not own_account:
            latency_secs = path.ends if path.begins is None else path.begins
            outcome = Outcome(failure, path.retry_after_secs, latency_secs * 1000)
        run.give_back(assignment, outcome, refund=path.refund)
        if path.begins is not None and self.began_at is None:
            self.began_at = self._attempt_at + path.begins
        if failure is None:
            self._end("ok")
        elif own_account and not self.resumed:
            self._end("client_error")
        elif path.begins is None:
            self._goes_on_after(failure, path.retry_after_secs)
        elif self.asked_of.continues and self.wish.stream:
            self._left -= tokens
            self._goes_on_after(failure, path.retry_after_secs)
        else:
            self._end("broken")

    def _goes_on_after(self, failure: FailureClass, retry_after_secs: float | None) -> None:
        resumed, self.resumed = self.resumed, self.began_at is not None
        failing = Failing(failure, retry_after_secs, ours=resumed)
        self._follow(self.journey.failed(failing, self._run.world.clock.now()))

    def _diverges(self, path: Course, member: str) -> bool:
        """Whether the answer was gone on with in other words than it had begun: a model that takes no prefill starts
        anew, and what it says is not what the first one said."""
        return self.resumed and path.begins is not None and not self._run.takes_prefill(member)

    def _of_own_account(self, failure: FailureClass) -> bool:
        """With passed-through keys the account is the caller's: no verdict on the member, and no failover."""
        return self._run.passthrough and disposition(failure) is Disposition.HARD_DOWN

    # --- the end

    def hang_up(self) -> None:
        """The caller goes away: no verdict on the member, the permit is given back."""
        self._hang_up = None
        if self.outcome is not None:
            return
        run = self._run
        if self._asked is not None:
            self._end("cancelled")
            run.world.tell(self.asked_of.ref, Withdraw(str(self._number)))
            return
        if self._next is not None:
            self._next.cancel()
        assignment, path, answer = self._assignment, self._course, self._answer
        if assignment is not None and path is not None and answer is not None:
            self._assignment = None
            seen = run.world.clock.now() - self._attempt_at
            tokens = 0
            if path.begins is not None and path.begins <= seen:
                self.began_at = self.began_at or self._attempt_at + path.begins
                tokens = path.tokens_until(answer, seen)
            run.attempted(self, assignment, "cancelled", tokens)
            run.give_back(assignment, None, refund=False)
        self._end("cancelled")

    def _end(self, outcome: Ending) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None
        self.ended_at = self._run.world.clock.now()
        self._run.ended(self, outcome)


def _reply(future: Answered) -> Reply:
    """As the relay takes it: a pool that has just been restarted, or cannot keep up, has nobody."""
    try:
        reply: Reply = future.get()
    except (pykka.ActorDeadError, MailboxFull):
        return Exhausted(reasons={}, retry_after_secs=1.0)
    return reply
