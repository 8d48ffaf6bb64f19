"""The steps of storage: an account, a page blob with the VHD, block blobs."""

import io

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient, BlobType, ContentSettings

from world import FOOTER_BYTES, GROUP, HOME, MIB, digest_of, refused, say

ACCOUNT, CONTAINER = "pythonvhds", "images"
TYPE = "Microsoft.Storage/storageAccounts"


def make_account(world):
    """A storage account is made; its keys open its blobs."""
    accounts = world.storage.storage_accounts
    free = accounts.check_name_availability({"name": ACCOUNT, "type": TYPE})
    assert free.name_available, free.message
    body = {"location": HOME, "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}
    made = accounts.begin_create(GROUP, ACCOUNT, body).result()
    assert made.provisioning_state == "Succeeded" and made.sku.name == "Standard_LRS"
    taken = accounts.check_name_availability({"name": ACCOUNT, "type": TYPE})
    assert not taken.name_available and taken.reason == "AlreadyExists", taken
    assert ACCOUNT in [account.name for account in accounts.list_by_resource_group(GROUP)]
    keys = accounts.list_keys(GROUP, ACCOUNT).keys_property
    assert [key.key_name for key in keys] == ["key1", "key2"]
    world.account_id = made.id
    credential = {"account_name": ACCOUNT, "account_key": keys[0].value}
    world.blobs = BlobServiceClient(made.primary_endpoints.blob, credential=credential)
    say("storage account: name, create, list, keys")


def upload_vhd(world):
    """A fixed VHD goes up as a page blob and reads back by ranges; holes stay holes."""
    container = world.blobs.create_container(CONTAINER, metadata={"kind": "vhds"})
    refused("ContainerAlreadyExists", 409, world.blobs.create_container, CONTAINER)
    blob = container.get_blob_client("debian.vhd")
    with open(world.vhd, "rb") as file:
        blob.upload_blob(file, BlobType.PAGEBLOB, length=world.size, max_concurrency=2)
    shown = blob.get_blob_properties()
    assert (shown.size, shown.blob_type) == (world.size, "PageBlob")
    with open(world.vhd, "rb") as file:
        for offset, length in [(0, 512), (3 * MIB - 7, 1000), (world.size - 600, 600)]:
            file.seek(offset)
            got = blob.download_blob(offset=offset, length=length).readall()
            assert got == file.read(length), f"{length} bytes at {offset}"
    with io.BytesIO() as whole:
        blob.download_blob(max_concurrency=2).readinto(whole)
        whole.seek(0)
        assert digest_of(whole, world.size - FOOTER_BYTES) == world.digest()
    pages = [(page.start, page.end) for page in blob.list_page_ranges()]
    held = sum(end - start + 1 for start, end in pages)
    assert pages[-1][1] == world.size - 1 and held < world.size * 3 // 4, (held, pages)
    refused("InvalidRange", 416, blob.download_blob, offset=world.size + 512, length=512)
    world.blob_url = blob.url
    say(f"page blob: {world.size} bytes up, {held} of them data, ranges and whole read back")


def use_block_blobs(world):
    """Block blobs keep bytes, metadata and content type; they list and go."""
    container = world.blobs.get_container_client(CONTAINER)
    blob = container.get_blob_client("notes/read me.txt")
    text = b"what this image is for\n" * 1000
    settings = ContentSettings(content_type="text/plain")
    blob.upload_blob(text, metadata={"team": "images"}, content_settings=settings)
    assert blob.download_blob().readall() == text
    shown = blob.get_blob_properties()
    assert shown.metadata == {"team": "images"} and shown.content_settings.content_type == "text/plain"
    try:
        blob.upload_blob(b"again")
    except ResourceExistsError as error:
        assert error.error_code == "BlobAlreadyExists", error.error_code
    else:
        raise AssertionError("an existing blob was overwritten")
    blob.set_blob_metadata({"team": "platform"})
    assert blob.get_blob_properties().metadata == {"team": "platform"}
    for number in range(3):
        blob.stage_block(f"{number:04}", bytes([number]) * MIB)
    blob.commit_block_list(["0002", "0000", "0001"])
    assert blob.download_blob(offset=MIB - 1, length=2).readall() == b"\x02\x00"
    names = [item.name for item in container.list_blobs()]
    assert names == ["debian.vhd", "notes/read me.txt"], names
    pages = container.list_blobs(results_per_page=1).by_page()
    assert [[item.name for item in page] for page in pages] == [[name] for name in names]
    tops = [item.name for item in container.walk_blobs(delimiter="/")]
    assert tops == ["notes/", "debian.vhd"], tops
    blob.delete_blob()
    refused("BlobNotFound", 404, blob.download_blob)
    say("block blob: put, metadata, blocks, list by pages and by folder, delete")
