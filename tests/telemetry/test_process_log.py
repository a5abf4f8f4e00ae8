"""The process's own log: no credential gets into it, and no line of it can be forged."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pytest

from busbar.config import loads
from busbar.config.secret import Secret
from busbar.telemetry.process_log import LINE_CHARS_MAX, Behind, Masker, configure, secrets_in

Form = Literal["human", "json"]
FORMS: tuple[Form, ...] = ("human", "json")

logger = logging.getLogger("busbar.test")


class StandardError:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def configure(self, level: str, form: Form = "human", secrets: Iterable[Secret] = ()) -> None:
        logging.getLogger().handlers.clear()  # pytest's own
        configure(level, form, secrets)

    def getvalue(self) -> str:
        for handler in logging.getLogger().handlers:
            handler.flush()
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[StandardError]:
    root = logging.getLogger()
    level = root.level
    yield StandardError(capsys)
    root.handlers.clear()
    root.setLevel(level)


def logged(stream: StandardError) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_for_people_it_is_as_ever(stderr: StandardError) -> None:
    stderr.configure("info")
    logger.info("listening on %s (%d models)", "http://127.0.0.1:8080", 2)
    logger.debug("not at this level")
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    busbar\.test: (.*)\n"
    found = re.fullmatch(pattern, stderr.getvalue())
    assert found is not None
    assert found[1] == "listening on http://127.0.0.1:8080 (2 models)"


def test_for_programs_it_is_an_object_a_line(stderr: StandardError) -> None:
    stderr.configure("info", "json")
    logger.warning("grüße %s", "you")
    [line] = logged(stderr)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {"level": "warning", "logger": "busbar.test", "message": "grüße you"}


def test_an_exception_is_part_of_the_object(stderr: StandardError) -> None:
    stderr.configure("info", "json")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("failed")
    [line] = logged(stderr)
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: broken")


def test_configured_again_it_logs_each_message_once(stderr: StandardError) -> None:
    stderr.configure("info")
    configure("warning", "json")
    logger.info("too low")
    logger.warning("once")
    assert [line["message"] for line in logged(stderr)] == ["once"]


SHOWN = [
    ("key sk-abcdefgh12345678", "key ***"),
    ("sk-ant-api03-abc_def-123456", "***"),
    ("sk-bb-" + "0123456789abcdef" * 4 + " was used", "*** was used"),
    ("AIzaSyA-abcdefghijklmnopqrstuvwxyz0123", "***"),
    ("AKIAIOSFODNN7EXAMPLE and AKBBABCDEFGHIJKLMNOP", "*** and ***"),
    ("Authorization: Bearer abcdefgh", "Authorization: Bearer ***"),
    ("authorization: Basic dXNlcjpwYXNzd29yZA==", "authorization: Basic ***"),
    ("GET /v1beta/models?alt=sse&key=abc-123 HTTP/1.1", "GET /v1beta/models?alt=sse&key=*** HTTP/1.1"),
    ("https://h/?X-Amz-Signature=0123abcd&x=1", "https://h/?X-Amz-Signature=***&x=1"),
    ("{'x-api-key': 'a b c', 'accept': '*/*'}", "{'x-api-key': '***', 'accept': '*/*'}"),
    ("[(b'X-Goog-Api-Key', b'abcdef')]", "[(b'X-Goog-Api-Key', b'***')]"),
    ('{"api_key": "abc", "model": "gpt"}', '{"api_key": "***", "model": "gpt"}'),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "***"),
    ("proxy http://user:pass@proxy:3128/", "proxy http://***@proxy:3128/"),
    ("ghp_0123456789abcdefghijABCDEFGHIJ", "***"),
]

KEPT = [
    "a task-force of risk-averse models asked for max_tokens=5",
    "governance.admin_token: expected a text, api_key: unknown key",
    "req_0123456789abcdef: fast: gpt rate_limit, then claude ok; told ok (200)",
    "http://127.0.0.1:8080/v1/models?alt=sse",
    "vk_0123456789abcdef is over its budget",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_what_looks_like_a_credential_is_masked(stderr: StandardError, form: Form, text: str, shown: str) -> None:
    stderr.configure("info", form)
    logger.info(text)
    logger.info("it said %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")
    written = stderr.getvalue()
    assert text not in written
    if form == "json":
        first, second, third = logged(stderr)
        assert (first["message"], second["message"]) == (shown, f"it said {shown}")
        assert f"ValueError: {shown}" in third["exception"]
    else:
        assert written.splitlines()[0].endswith(f"busbar.test: {shown}")
        assert written.splitlines()[-1] == f"    ValueError: {shown}"


@pytest.mark.parametrize("text", KEPT)
def test_what_is_none_stays(text: str) -> None:
    assert Masker()(text) == text


@pytest.mark.parametrize("form", FORMS)
def test_what_the_configuration_holds_is_masked_wherever_it_is(stderr: StandardError, form: Form) -> None:
    stderr.configure("info", form, [Secret("correct horse/battery"), Secret("ID:a-long-aws-secret-key::us-east-1")])
    logger.info("%s and %r", "correct horse/battery", ["x", "correct horse/battery!"])
    logger.info("?q=correct%20horse%2Fbattery")
    logger.info("signed with a-long-aws-secret-key in us-east-1")
    assert "horse" not in stderr.getvalue()
    assert "a-long-aws" not in stderr.getvalue()
    assert "in us-east-1" in stderr.getvalue()


def test_a_secret_that_is_part_of_another_gives_nothing_away() -> None:
    assert Masker([Secret("abcdef"), Secret("abcdefghij")])("x abcdefghij abcdef") == "x *** ***"


def test_a_secret_too_short_to_be_one_does_not_black_out_the_log() -> None:
    assert Masker([Secret("a"), Secret("")])("a message") == "a message"


def test_every_secret_of_a_configuration_is_found() -> None:
    config = loads(
        """
auth: {mode: token, client_tokens: ["${CLIENT}"]}
providers:
  main: {base_url: http://127.0.0.1:1, protocol: openai, auth: bearer, api_key_env: KEY, headers: {x-a: "${HEADER}"}}
models: {gpt: {provider: main}}
observability: {request_log_webhook_url: "https://h/x", request_log_webhook_secret: "${HOOK}"}
""",
        env={"CLIENT": "client-secret", "KEY": "provider-secret", "HEADER": "header-secret", "HOOK": "hook-secret"},
    )
    found = {secret.reveal() for secret in secrets_in(config)}
    assert found == {"client-secret", "provider-secret", "header-secret", "hook-secret"}


def test_no_line_can_be_forged(stderr: StandardError) -> None:
    stderr.configure("info")
    forged = "x\n2026-01-01 00:00:00,000 INFO    busbar: all is well\r\x1b[2J\u2028\x9b\u202e"
    logger.info("model %s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        logger.exception("failed")
    lines = stderr.getvalue().split("\n")
    escaped = r"\n2026-01-01 00:00:00,000 INFO    busbar: all is well\r\x1b[2J\u2028\x9b\u202e"
    assert lines[0].endswith(f"busbar.test: model x{escaped}")
    assert lines[-2] == "    " + escaped[2:]
    assert all(line.startswith("    ") for line in lines[2:-1])
    assert stderr.getvalue().replace("\n", "").isprintable()


def test_a_message_without_end_is_cut_after_it_was_masked(stderr: StandardError) -> None:
    stderr.configure("info", "json")
    logger.info("x" * (LINE_CHARS_MAX - 5) + " sk-abcdefgh12345678 " + "y" * LINE_CHARS_MAX)
    [line] = logged(stderr)
    assert line["message"] == "x" * (LINE_CHARS_MAX - 5) + " *** … (cut)"


@pytest.mark.parametrize("form", FORMS)
def test_a_message_that_cannot_be_made_shows_nothing_of_itself(stderr: StandardError, form: Form) -> None:
    stderr.configure("info", form)
    logger.info("%d of them", "correct horse")
    assert stderr.getvalue() == "a message of busbar.test cannot be logged: TypeError\n"


@pytest.mark.parametrize(
    "piece", ["-eyJ", "sk-", "://", "authorization:", "?a_", "bearer ", "-----BEGIN PRIVATE KEY-----"]
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.perf_counter()
    assert len(Masker()(piece * 1_000_000)) < LINE_CHARS_MAX + 20
    assert time.perf_counter() - began < 2.0


def test_a_crash_that_nobody_caught_is_masked_too() -> None:
    script = (
        "import threading\n"
        "from busbar.telemetry.process_log import configure\n"
        "configure('info')\n"
        "thread = threading.Thread(target=lambda: 1 / len('sk-bb-' + 'a' * 64).missing, name='worker')\n"
        "thread.start(); thread.join()\n"
        "raise ValueError('the key sk-ant-api03-' + 'b' * 40)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "worker crashed" in ran.stderr
    assert "the process crashed" in ran.stderr
    assert "ValueError: the key ***" in ran.stderr
    assert "bbbb" not in ran.stderr


def test_a_reader_of_the_log_that_stands_still_holds_nobody_up() -> None:
    script = (
        "import logging, time\n"
        "from busbar.telemetry.process_log import configure\n"
        "configure('info')\n"
        "began = time.monotonic()\n"
        "for number in range(20_000):\n"
        "    logging.getLogger('busbar').info('%s', 'x' * 200)\n"
        "print(time.monotonic() - began < 10, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"  # nobody has read a byte of standard error
        assert process.stderr is not None
        assert process.stderr.read().count(b"\n") >= 100


def test_a_log_that_is_closed_waits_for_nobody() -> None:
    behind = Behind(logging.NullHandler())
    behind.close()
    behind._thread.join(10)
    behind.flush()  # as `logging` does when the process ends
    assert behind._records.empty(), "nothing is put where nobody takes it"
