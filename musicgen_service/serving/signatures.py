"""Signatures of webhooks, by which their receivers know that this service sent them.

Source: Standard Webhooks 1.0.0, https://github.com/standard-webhooks/standard-webhooks, symmetric signatures.
"""

import base64
import hashlib
import hmac

PREFIX = "whsec_"


def headers(secret: str, message: str, seconds: int, content: bytes) -> dict[str, str]:
    """The headers that sign a message.

    Parameters
    ----------
    secret : `PREFIX` and the key in base64
    message : its id, the same whenever it is sent again
    seconds : when it is sent, since the epoch
    content : its body
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.digest(key, f"{message}.{seconds}.".encode() + content, hashlib.sha256)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
