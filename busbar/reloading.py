"""A new configuration for a running gateway: read, compared, applied whole or not at all, and put on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from busbar.actors.audit import record
from busbar.actors.gateway import PolicyUnusable
from busbar.config import Config, ConfigErrors
from busbar.config.difference import Change, changes, needs_restart, shown
from busbar.http.config_admin import NotReloaded, Reloaded
from busbar.protocols.signing import MalformedCredential
from busbar.supervision import PolicyRejected

logger = logging.getLogger("busbar")

CHANGES_LOGGED = 20
"""Of one reload; the others are counted."""


class Reloader:
    """One reload at a time; who comes meanwhile waits, and reads the files as they are then."""

    def __init__(
        self,
        current: Callable[[], Config],
        apply: Callable[[Config], Awaitable[int]],
        load: Callable[[], Config] | None,
    ) -> None:
        """`current`: what is in effect. `apply` makes another configuration that, and gives its number. `load` None:
        the configuration did not come from files."""
        self._current = current
        self._apply = apply
        self._load = load
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[Reloaded]] = set()
        self.on_reloaded: Callable[[Config], None] = lambda config: None
        """Called with what is in effect now."""

    def shown(self) -> dict[str, Any]:
        """What is in effect, without secrets."""
        return shown(self._current())

    async def reload(self, who: str, *, dry_run: bool = False) -> Reloaded:
        """Reads the files, and makes what they say hold for every request that comes from now on. With `dry_run` it
        only says what would change.

        Raises `NotReloaded`: nothing has changed, and it says why. Who asked may go away meanwhile: it is done, and
        put on record, all the same.
        """
        task = asyncio.create_task(self._in_turn(who, dry_run=dry_run))
        self._running.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def _over(self, task: asyncio.Task[Reloaded]) -> None:
        self._running.discard(task)
        if not task.cancelled() and not isinstance(error := task.exception(), NotReloaded | None):
            logger.error("a reload failed unexpectedly", exc_info=error)

    async def _in_turn(self, who: str, *, dry_run: bool) -> Reloaded:
        async with self._turn:
            try:
                reloaded = await self._reload(who, dry_run=dry_run)
            except NotReloaded as refused:
                if not dry_run:
                    record(who, "reload", "refused", problems=len(refused.problems))
                    for problem in refused.problems:
                        logger.error("not reloaded: %s", problem)
                raise
        if not dry_run:
            record(who, "reload", "done", generation=reloaded.generation, changes=len(reloaded.changes))
            _log(reloaded.changes)
        return reloaded

    async def _reload(self, who: str, *, dry_run: bool) -> Reloaded:
        config = await self._read(who)
        changed = changes(self._current(), config)
        fixed = needs_restart(changed)
        if fixed:
            raise NotReloaded([f"{path}: this key takes effect at a restart only" for path in fixed])
        if dry_run:
            return Reloaded(generation=None, changes=changed, notes=config.notes)
        if not changed:  # files, commands and certificates are looked after by those who read them
            return Reloaded(generation=None, changes=(), notes=config.notes)
        try:
            generation = await self._apply(config)
        except MalformedCredential as error:
            raise NotReloaded([f"a provider's key is malformed: {error}"]) from None
        except (PolicyRejected, PolicyUnusable) as error:
            raise NotReloaded([str(error)]) from None
        self.on_reloaded(config)
        return Reloaded(generation=generation, changes=changed, notes=config.notes)

    async def _read(self, who: str) -> Config:
        current = self._current()
        if current.worker is not None and who != "signal":
            problem = f"this is one of {current.workers} workers: send SIGHUP to the process that started them"
            raise NotReloaded([problem])
        if self._load is None:
            raise NotReloaded(["this gateway was not started from files"])
        try:
            return await asyncio.to_thread(self._load)
        except ConfigErrors as errors:
            raise NotReloaded([str(problem) for problem in errors.problems]) from None
        except ValueError as error:  # what the command line says does not go with it
            raise NotReloaded([str(error)]) from None


def _log(changed: Sequence[Change]) -> None:
    for change in changed[:CHANGES_LOGGED]:
        logger.info("reloaded: %s", change)
    if len(changed) > CHANGES_LOGGED:
        logger.info("reloaded: %d further changes", len(changed) - CHANGES_LOGGED)
    elif not changed:
        logger.info("reloaded: nothing has changed")
