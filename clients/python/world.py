"""What the scripts of the Python SDK share: clients, names, refusals, digests."""

import datetime
import hashlib
import os

from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.resource import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient

GROUP, HOME = "python-rg", "eastus"
FOOTER_BYTES = 512
MIB = 1 << 20


def say(step):
    """Prints that a step held."""
    print(f"ok  {step}", flush=True)


def code_of(error):
    """Returns the service's code of an error, of ARM or of blobs."""
    return getattr(error, "error_code", None) or error.error.code


def refused(code, status, call, *args, **kwargs):
    """Calls and expects a refusal; returns the error."""
    try:
        answer = call(*args, **kwargs)
        if hasattr(answer, "result"):
            answer = answer.result()
    except HttpResponseError as error:
        found = (code_of(error), error.status_code)
        assert found == (code, status), f"wanted {code} {status}, got {found}: {error.message}"
        return error
    raise AssertionError(f"not refused with {code}: {answer}")


def in_days(days):
    """Returns a moment whole days from now, without fractions of a second."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    return now + datetime.timedelta(days=days)


class World:
    """The clients, signed in, and what the steps hand on."""

    def __init__(self, credentials, vhd):
        self.vhd = vhd
        self.size = os.path.getsize(vhd)
        self.endpoint = credentials["endpoint"]
        self.subscription = credentials["subscriptionId"]
        self.tenant, self.client = credentials["tenantId"], credentials["clientId"]
        self.credential = self.sign_in(credentials["clientSecret"])
        places = {
            "base_url": self.endpoint,
            "credential_scopes": [f"{self.endpoint}/.default"],
        }
        who = (self.credential, self.subscription)
        self.resource = ResourceManagementClient(*who, **places)
        self.storage = StorageManagementClient(*who, **places)
        self.compute = ComputeManagementClient(*who, **places)
        self.account_id = self.blobs = self.version_id = self.published = None

    def sign_in(self, secret):
        """Returns a credential with this secret."""
        return ClientSecretCredential(
            self.tenant,
            self.client,
            secret,
            authority=self.endpoint,
            disable_instance_discovery=True,
        )

    def digest(self):
        """Returns the SHA-256 of the disk in the VHD: everything but the footer."""
        with open(self.vhd, "rb") as file:
            return digest_of(file, self.size - FOOTER_BYTES)


def digest_of(file, size):
    """Returns the SHA-256 of the first bytes of a file."""
    digest, left = hashlib.sha256(), size
    while left:
        piece = file.read(min(left, 4 * MIB))
        assert piece, f"{left} bytes are missing"
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()
