"""An authenticator: RFC 6238 by Python's own means."""

import base64
import hashlib
import hmac
import time


def totp(secret, step=0):
    """The code of now, or of so many steps of 30 s later."""
    count = int(time.time()) // 30 + step
    mac = hmac.new(base64.b32decode(secret), count.to_bytes(8, "big"),
                   hashlib.sha1).digest()
    at = mac[19] & 15
    value = int.from_bytes(mac[at:at + 4], "big") & 0x7fffffff
    return f"{value % 1000000:06}"
