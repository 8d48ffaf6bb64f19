"""The steps of access to blobs: shared access signatures, tokens, keys that are made anew."""

import datetime

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    AccountSasPermissions,
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from storage_steps import ACCOUNT, CONTAINER
from world import GROUP, code_of, refused, say

NAME = "shared/note.txt"


def hours(count):
    """Returns a moment some hours from now."""
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=count)


def denied(call, *args, **kwargs):
    """Calls and expects a 401 or 403; returns the code."""
    try:
        call(*args, **kwargs)
    except HttpResponseError as error:
        assert error.status_code in (401, 403), error
        return code_of(error)
    raise AssertionError(f"not denied: {call}")


def use_signatures(world):
    """A signature opens what it names for what it says, until it ends, and nothing else."""
    blob = world.blobs.get_blob_client(CONTAINER, NAME)
    blob.upload_blob(b"shared")
    key = world.blobs.credential.account_key
    here = {"account_name": ACCOUNT, "account_key": key, "expiry": hours(1)}
    place = {"container_name": CONTAINER, "blob_name": NAME}

    def opened(sas, name=NAME):
        return BlobClient(world.blobs.url, CONTAINER, name, credential=sas)

    reading = generate_blob_sas(**here, **place, permission=BlobSasPermissions(read=True))
    assert opened(reading).download_blob().readall() == b"shared"
    assert BlobClient.from_blob_url(f"{blob.url}?{reading}").download_blob().readall() == b"shared"
    code = denied(opened(reading).upload_blob, b"changed", overwrite=True)
    assert code == "AuthorizationPermissionMismatch", code
    denied(opened(reading, "debian.vhd").download_blob)
    broken = reading.replace("sig=", "sig=A")
    assert denied(opened(broken).download_blob) == "AuthenticationFailed"
    over = {**here, "expiry": hours(-1), "start": hours(-2)}
    ended = generate_blob_sas(**over, **place, permission=BlobSasPermissions(read=True))
    assert denied(opened(ended).download_blob) == "AuthenticationFailed"
    early = generate_blob_sas(
        **here, **place, start=hours(0.5), permission=BlobSasPermissions(read=True)
    )
    assert denied(opened(early).download_blob) == "AuthenticationFailed"

    writing = ContainerSasPermissions(read=True, write=True, list=True)
    container_sas = generate_container_sas(**here, container_name=CONTAINER, permission=writing)
    opened(container_sas).upload_blob(b"changed", overwrite=True)
    container = ContainerClient(world.blobs.url, CONTAINER, credential=container_sas)
    assert NAME in [item.name for item in container.list_blobs()]
    denied(container.delete_container)

    account_sas = generate_account_sas(
        **here,
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(read=True, list=True),
    )
    service = BlobServiceClient(world.blobs.url, credential=account_sas)
    assert CONTAINER in [item.name for item in service.list_containers()]
    assert service.get_blob_client(CONTAINER, NAME).download_blob().readall() == b"changed"
    denied(service.create_container, "another")
    say("signatures: of blob, container and account; wrong, ended and early ones denied")


def use_conditions(world):
    """A write with the etag of an old state is refused; the new one is taken."""
    blob = world.blobs.get_blob_client(CONTAINER, NAME)
    old = blob.get_blob_properties().etag
    blob.set_blob_metadata({"state": "new"})
    unchanged = {"match_condition": MatchConditions.IfNotModified}
    refused("ConditionNotMet", 412, blob.set_blob_metadata, {"state": "old"}, etag=old, **unchanged)
    new = blob.get_blob_properties().etag
    blob.set_blob_metadata({"state": "newer"}, etag=new, **unchanged)
    assert blob.get_blob_properties().metadata == {"state": "newer"}
    say("conditions: an old etag is refused, the current one is taken")


def use_tokens_and_new_keys(world):
    """A token of the owner opens blobs; a key that was made anew ends the old one."""
    by_token = BlobServiceClient(world.blobs.url, credential=world.credential)
    blob = by_token.get_blob_client(CONTAINER, NAME)
    assert blob.download_blob().readall() == b"changed"
    accounts = world.storage.storage_accounts
    keys = accounts.regenerate_key(GROUP, ACCOUNT, {"keyName": "key1"}).keys_property
    old = world.blobs.get_blob_client(CONTAINER, NAME)
    assert denied(old.download_blob) == "AuthenticationFailed"
    credential = {"account_name": ACCOUNT, "account_key": keys[0].value}
    world.blobs = BlobServiceClient(world.blobs.url, credential=credential)
    world.blobs.get_blob_client(CONTAINER, NAME).delete_blob()
    say("token of the owner, key made anew")
