"""AWS: short-lived keys from botocore's own chain, in its order.

Environment; a profile that assumes a role; web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`, as on EKS);
SSO; the shared files; `credential_process`; the container's role (ECS, EKS Pod Identity); the instance's (IMDSv2). An
explicit `identity.profile` leaves the environment's keys out. Each mint asks a chain of its own, so that files that
were changed are read, and all that blocks is done here, in the thread of `mint`.

Where STS and metadata servers are is botocore's and its environment's affair (`AWS_ENDPOINT_URL_STS`,
`AWS_EC2_METADATA_SERVICE_ENDPOINT`, `AWS_CONTAINER_CREDENTIALS_FULL_URI`, which botocore takes by plain http for this
machine and AWS's fixed addresses alone): none of it comes from Busbar's configuration.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from busbar.config.reach import Reach
from busbar.config.schema import IdentityConfig
from busbar.config.secret import Secret
from busbar.credentials.minting import AwsKeys, Minted, MintRefused
from busbar.protocols.failures import FailureClass

CONNECT_TIMEOUT_SECS = 5
READ_TIMEOUT_SECS = 8
"""Of one request to STS or SSO; botocore tries it twice."""

_THROTTLES = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})


def aws_minter(identity: IdentityConfig, reach: Reach) -> AwsMinter:
    """The minter of a checked configuration. botocore does its own dialling, to where its environment says."""
    del reach
    return AwsMinter(identity)


class AwsMinter:
    """Asks the chain. A credential that has no end (a user's own) is given without a lifetime."""

    def __init__(self, identity: IdentityConfig, clock: Callable[[], float] = time.time) -> None:
        self._profile = identity.profile
        self._region = identity.region
        self._clock = clock

    def mint(self) -> Minted:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        logging.getLogger("botocore.credentials").addFilter(_without_traceback)
        try:
            return self._asked()
        except ClientError as error:
            raise _refused_by_service(error) from None
        except BotoCoreError as error:
            raise MintRefused(f"the AWS chain failed: {type(error).__name__}", _kind(error)) from None
        except (ResponseParserError, ValueError, KeyError, TypeError, RuntimeError) as error:
            message = f"the AWS chain was answered with what is no credential: {type(error).__name__}"
            raise MintRefused(message, FailureClass.SERVER_ERROR) from None
        except OSError as error:
            message = f"the AWS chain names a file that cannot be read: {error.strerror}"
            raise MintRefused(message, FailureClass.AUTH) from None

    def _asked(self) -> Minted:
        from botocore.config import Config
        from botocore.session import Session

        session = Session(profile=self._profile)
        patience = {"connect_timeout": CONNECT_TIMEOUT_SECS, "read_timeout": READ_TIMEOUT_SECS}
        session.set_default_client_config(Config(retries={"total_max_attempts": 2}, **patience))
        credentials = session.get_credentials()
        if credentials is None:
            # The instance's metadata server may only be slow to come up: not a reason to give up for good.
            raise MintRefused("nothing in the AWS chain has a credential", FailureClass.NETWORK)
        frozen = credentials.get_frozen_credentials()
        if not frozen.access_key or not frozen.secret_key:
            raise MintRefused("the AWS chain gave half a credential", FailureClass.AUTH)
        keys = AwsKeys(
            access_key=frozen.access_key,
            secret_key=Secret(frozen.secret_key),
            session_token=Secret(frozen.token) if frozen.token else None,
            region=self._region or session.get_config_variable("region"),
        )
        return Minted(keys, self._lifetime_secs(credentials))

    def _lifetime_secs(self, credentials: Any) -> float | None:
        """botocore has no public word for it. AWS tells a moment; a clock that is far from AWS's could not sign."""
        ends = getattr(credentials, "_expiry_time", None)
        if ends is None:
            return None
        left_secs = float(ends.timestamp() - self._clock())
        if left_secs <= 0:
            raise MintRefused("the AWS chain gave a credential that is over", FailureClass.SERVER_ERROR)
        return left_secs

    def __repr__(self) -> str:
        return f"AwsMinter({self._profile or 'the default chain'})"


def _refused_by_service(error: Any) -> MintRefused:
    """STS or SSO answered. Its text may echo what was sent; its code and status do not."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _THROTTLES or status == 429:
        kind = FailureClass.RATE_LIMIT
    elif code == "IDPCommunicationError" or status >= 500:
        kind = FailureClass.SERVER_ERROR
    else:
        kind = FailureClass.AUTH
    shown = f" {code}" if code in _CODES else ""
    return MintRefused(f"AWS refused {error.operation_name} with {status}{shown}", kind)


_CODES = _THROTTLES | {
    *("AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "InvalidIdentityToken"),
    *("IDPRejectedClaim", "IDPCommunicationError", "InvalidClientTokenId", "SignatureDoesNotMatch"),
    *("MalformedPolicyDocument", "RegionDisabledException", "UnauthorizedException", "ForbiddenException"),
    *("ValidationError", "InvalidRequestException", "ResourceNotFoundException", "InvalidGrantException"),
}
"""What STS and SSO document; nothing else of an answer is repeated."""


def _kind(error: Exception) -> FailureClass:
    from botocore import exceptions

    if isinstance(error, exceptions.ConnectTimeoutError | exceptions.ReadTimeoutError):
        return FailureClass.TIMEOUT
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return FailureClass.NETWORK
    if isinstance(error, exceptions.CredentialRetrievalError | exceptions.MetadataRetrievalError):
        return FailureClass.SERVER_ERROR  # a program or a metadata server that did not give any
    return FailureClass.AUTH


def _without_traceback(record: logging.LogRecord) -> bool:
    """botocore logs the whole exception of a role that could not be assumed, with all that STS said."""
    record.exc_info = None
    return True
