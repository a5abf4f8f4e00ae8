"""What one of several workers has of a configuration: its share of everything that is counted."""

from __future__ import annotations

from pathlib import PurePath

from msgspec.structs import replace

from busbar.config.schema import Config, ModelConfig


def share_of(config: Config, worker: int) -> Config:
    """The part of `worker`, from 1 to `config.workers`. All parts together are the whole."""
    count = config.workers
    assert 1 <= worker <= count, "there are no others"
    limits, observability = config.limits, config.observability
    log = observability.request_log_file
    return replace(
        config,
        worker=worker,
        models={name: _model(model, worker, count) for name, model in config.models.items()},
        limits=replace(
            limits,
            connections_max=_part(limits.connections_max, worker, count),
            upstream_connections_max=_part(limits.upstream_connections_max, worker, count),
        ),
        observability=replace(observability, request_log_file=None if log is None else _own_file(log, worker)),
    )


def _model(model: ModelConfig, worker: int, count: int) -> ModelConfig:
    return replace(
        model,
        max_concurrent=_part(model.max_concurrent, worker, count),
        max_requests=model.max_requests if model.max_requests < 0 else _part(model.max_requests, worker, count),
    )


def _part(whole: int, worker: int, count: int) -> int:
    """The first workers have one more where it does not come out even. At least 1."""
    return max(1, whole // count + (worker <= whole % count))


def _own_file(path: str, worker: int) -> str:
    """`requests.jsonl` is `requests.2.jsonl` for the second: two processes cannot rotate one file."""
    file = PurePath(path)
    return str(file.with_name(f"{file.stem}.{worker}{file.suffix}"))
