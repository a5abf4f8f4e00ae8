"""The port between a minter, which blocks, and the actor that waits for what it gives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import traceback
from collections.abc import Callable

from busbar.actors.credentials.messages import Given, NotGiven
from busbar.config.secret import Secret
from busbar.credentials.minting import AwsKeys, Minted, Minter, MintRefused
from busbar.protocols.failures import FailureClass
from busbar.protocols.signing import MalformedCredential, Signer, make_signer

logger = logging.getLogger("busbar.credentials")

SIGV4 = "sigv4"

MINT_SECS_MAX = 40.0
"""Who takes longer has failed. A program that gives a key is ended a little before."""


class MintingSource:
    """Has a minter mint in a thread, and makes a signer of what it gives: one for each value, not for each request.

    Holds one thread at most, which ends with the minter's answer; one that hangs is not joined by a second one.
    """

    def __init__(
        self,
        name: str,
        style: str,
        minter: Minter,
        *,
        default_region: str | None = None,
        timeout_secs: float = MINT_SECS_MAX,
    ) -> None:
        """`name` is for logs, `style` one of `busbar.protocols.signing.STYLES`."""
        self._name = name
        self._style = style
        self._minter = minter
        self._default_region = default_region
        self._timeout_secs = timeout_secs
        self._busy = False
        self._value: Secret | AwsKeys | None = None
        self._signer: Signer | None = None

    def begin(self, done: Callable[[Given | NotGiven], None]) -> None:
        """Raises RuntimeError when no loop is running."""
        loop = asyncio.get_running_loop()
        if self._busy:
            loop.call_soon(done, NotGiven(FailureClass.TIMEOUT, "the last attempt has not ended yet"))
            return
        waiting = [done]

        def answer(given: Given | NotGiven) -> None:
            if waiting:
                waiting.pop()(given)

        late = NotGiven(FailureClass.TIMEOUT, f"nothing came within {self._timeout_secs:g} s")
        timer = loop.call_later(self._timeout_secs, answer, late)

        def over(given: Given | NotGiven) -> None:
            self._busy = False
            timer.cancel()
            answer(given)

        def work() -> None:
            given = self._mint()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                loop.call_soon_threadsafe(over, given)

        self._busy = True
        # A daemon: a process that ends must wait for no token server.
        thread = threading.Thread(target=work, name=f"busbar-mint-{self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            loop.call_soon(over, NotGiven(FailureClass.OVERLOADED, "no thread can be started"))

    # --- in the thread

    def _mint(self) -> Given | NotGiven:
        try:
            minted = self._minter.mint()
            return Given(self._signer_of(minted), minted.lifetime_secs)
        except MintRefused as refused:
            return NotGiven(refused.kind, str(refused), refused.retry_after_secs)
        except MalformedCredential as malformed:
            return NotGiven(FailureClass.AUTH, str(malformed))
        except Exception as error:  # noqa: BLE001  # whatever a library does: its thread must answer
            place = traceback.extract_tb(error.__traceback__)[-1]
            # Its text may quote what it was given.
            logger.error("%s: %s at %s:%s", self._name, type(error).__name__, place.filename, place.lineno)
            return NotGiven(FailureClass.SERVER_ERROR, f"the source failed: {type(error).__name__}")

    def _signer_of(self, minted: Minted) -> Signer:
        """The same object for the same value: then nothing has changed. Raises `MalformedCredential`."""
        if self._signer is None or minted.value != self._value:
            self._signer = signer_of(self._style, minted.value, self._default_region)
            self._value = minted.value
        return self._signer

    def __repr__(self) -> str:
        return f"MintingSource({self._name})"


def signer_of(style: str, value: Secret | AwsKeys, default_region: str | None = None) -> Signer:
    """`default_region`: for SigV4, where neither the credential nor the host names one. Raises
    `MalformedCredential`."""
    if style != SIGV4 and isinstance(value, Secret):
        return make_signer(style, value.reveal())
    from botocore.credentials import Credentials  # loaded for those who need it only

    from busbar.protocols.signing.sigv4 import SigV4Signer, sigv4_signer

    if isinstance(value, Secret):
        return sigv4_signer(value.reveal(), default_region)

    session = None if value.session_token is None else value.session_token.reveal()
    keys = Credentials(value.access_key, value.secret_key.reveal(), session)
    return SigV4Signer(keys, value.region or default_region)
