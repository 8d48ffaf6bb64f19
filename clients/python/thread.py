"""The whole thread of a gallery with the Azure SDK for Python.

    thread.py CREDENTIALS_JSON FIXED_VHD

A VHD goes into a page blob, becomes a version in two regions, a disk in the far one, and comes out
with the same bytes; what is deleted comes back; what is wrong is refused with its code. Prints one
line per step and ends with 0 when every step held. The CA is trusted through REQUESTS_CA_BUNDLE.
"""

import io
import json
import sys
import tempfile

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.mgmt.compute import models as compute
from azure.storage.blob import BlobClient, BlobType

from application_steps import use_applications
from arm_steps import look_around, use_generic_resources
from sas_steps import use_conditions, use_signatures, use_tokens_and_new_keys
from storage_steps import ACCOUNT, CONTAINER, make_account, upload_vhd, use_block_blobs
from world import FOOTER_BYTES, GROUP, HOME, World, code_of, digest_of, in_days, refused, say

GALLERY, IMAGE, VERSION = "python_sig", "debian", "1.0.0"
FAR, SPARE = "westeurope", "westus2"


def sign_in(world):
    """A right secret gives a token, a wrong one is refused by the name of the error."""
    token = world.credential.get_token(f"{world.endpoint}/.default")
    assert token.token.count(".") == 2, "the token is a JWT"
    try:
        world.sign_in("wrong").get_token(f"{world.endpoint}/.default")
    except ClientAuthenticationError as error:
        assert "AADSTS7000215" in error.message, error.message
    else:
        raise AssertionError("a wrong secret was taken")
    say("sign in: token for the secret, AADSTS7000215 for a wrong one")


def make_group(world):
    """A resource group is made, shown, listed and found."""
    groups = world.resource.resource_groups
    made = groups.create_or_update(GROUP, {"location": HOME, "tags": {"by": "python"}})
    assert (made.name, made.location, made.tags) == (GROUP, HOME, {"by": "python"})
    assert made.properties.provisioning_state == "Succeeded"
    assert groups.check_existence(GROUP) and not groups.check_existence("no-such-group")
    assert GROUP in [group.name for group in groups.list()]
    say("resource group: create, exists, list")


def make_gallery(world):
    """A gallery is made, shown, listed and changed."""
    galleries = world.compute.galleries
    body = compute.Gallery(location=HOME, tags={"stage": "test"}, description="images of the team")
    made = galleries.begin_create_or_update(GROUP, GALLERY, body).result()
    assert made.provisioning_state == "Succeeded" and made.description == "images of the team"
    assert made.identifier.unique_name == f"{world.subscription}-{GALLERY.upper()}"
    assert made.type == "Microsoft.Compute/galleries"
    assert [item.name for item in galleries.list_by_resource_group(GROUP)] == [GALLERY]
    assert GALLERY in [item.name for item in galleries.list()]
    update = compute.GalleryUpdate(description="changed", tags={"stage": "prod"})
    changed = galleries.begin_update(GROUP, GALLERY, update).result()
    assert (changed.description, changed.tags) == ("changed", {"stage": "prod"})
    say("gallery: create, get, list, update")


def share_gallery(world):
    """A gallery is shared with a subscription and a tenant, shown as such, and made private again."""
    galleries, sharing = world.compute.galleries, world.compute.gallery_sharing_profile
    name, other = "python_shared", "11111111-2222-3333-4444-555555555555"
    permissions = compute.SharingProfile(permissions="Groups")
    body = compute.Gallery(location=HOME, sharing_profile=permissions)
    made = galleries.begin_create_or_update(GROUP, name, body).result()
    assert made.sharing_profile.permissions == "Groups" and not made.sharing_profile.groups

    def share(verb, *groups):
        listed = [compute.SharingProfileGroup(type=kind, ids=ids) for kind, ids in groups]
        update = compute.SharingUpdate(operation_type=verb, groups=listed)
        sharing.begin_update(GROUP, name, update).result()
        shown = galleries.get(GROUP, name, select="Permissions").sharing_profile
        return shown.permissions, {group.type: group.ids for group in shown.groups or []}

    both = ("Subscriptions", [world.subscription, other]), ("AADTenants", [world.tenant])
    wanted = dict(both)
    assert share("Add", *both) == ("Groups", wanted)
    assert galleries.get(GROUP, name).sharing_profile.groups is None
    left = {"Subscriptions": [other], "AADTenants": [world.tenant]}
    assert share("Remove", ("Subscriptions", [world.subscription])) == ("Groups", left)
    refused("OperationNotAllowed", 409, galleries.begin_delete, GROUP, name)
    assert share("Reset") == ("Private", {})
    galleries.begin_delete(GROUP, name).result()
    say("gallery: shared with groups, unshared, reset")


def image_body():
    """Returns a definition with every property that the SDK knows."""
    span = compute.ResourceRange
    return compute.GalleryImage(
        location=HOME,
        tags={"os": "debian"},
        description="Debian 12 for the team",
        eula="https://example.org/eula",
        privacy_statement_uri="https://example.org/privacy",
        release_note_uri="https://example.org/notes",
        os_type="Linux",
        os_state="Generalized",
        hyper_v_generation="V2",
        architecture="x64",
        end_of_life_date=in_days(900),
        identifier=compute.GalleryImageIdentifier(publisher="acme", offer="debian", sku="12"),
        recommended=compute.RecommendedMachineConfiguration(
            v_cp_us=span(min=1, max=8), memory=span(min=2, max=64)
        ),
        disallowed=compute.Disallowed(disk_types=["Premium_LRS"]),
        purchase_plan=compute.ImagePurchasePlan(name="plan", publisher="acme", product="debian"),
        features=[
            compute.GalleryImageFeature(name="SecurityType", value="TrustedLaunchSupported"),
            compute.GalleryImageFeature(name="IsAcceleratedNetworkSupported", value="True"),
            compute.GalleryImageFeature(name="DiskControllerTypes", value="SCSI, NVMe"),
        ],
    )


def make_image(world):
    """A definition keeps every property that was sent."""
    images = world.compute.gallery_images
    sent = image_body()
    made = images.begin_create_or_update(GROUP, GALLERY, IMAGE, sent).result()
    shown, wanted = made.as_dict(), sent.as_dict()
    for name, value in wanted.items():
        assert shown.get(name) == value, f"{name}: sent {value}, shown {shown.get(name)}"
    assert made.provisioning_state == "Succeeded"
    update = compute.GalleryImageUpdate(
        description="changed",
        os_type="Linux",
        os_state="Generalized",
        hyper_v_generation="V2",
        identifier=sent.identifier,
    )
    changed = images.begin_update(GROUP, GALLERY, IMAGE, update).result()
    assert changed.description == "changed" and changed.eula == sent.eula
    assert changed.recommended.memory.max == 64 and len(changed.features) == 3
    assert [item.name for item in images.list_by_gallery(GROUP, GALLERY)] == [IMAGE]
    say("image definition: all properties kept, update, list")


def version_body(world):
    """Returns a version of the blob for two regions."""
    region = compute.TargetRegion
    return compute.GalleryImageVersion(
        location=HOME,
        tags={"build": "42"},
        publishing_profile=compute.GalleryImageVersionPublishingProfile(
            target_regions=[
                region(name="East US", regional_replica_count=2, storage_account_type="Standard_LRS"),
                region(
                    name=FAR,
                    regional_replica_count=1,
                    storage_account_type="Premium_LRS",
                    exclude_from_latest=False,
                ),
            ],
            replica_count=1,
            exclude_from_latest=False,
            end_of_life_date=in_days(300),
            storage_account_type="Standard_LRS",
            replication_mode="Full",
        ),
        safety_profile=compute.GalleryImageVersionSafetyProfile(
            allow_deletion_of_replicated_locations=True
        ),
        storage_profile=compute.GalleryImageVersionStorageProfile(
            os_disk_image=compute.GalleryOSDiskImage(
                host_caching="ReadOnly",
                source=compute.GalleryDiskImageSource(
                    uri=world.blob_url, storage_account_id=world.account_id
                ),
            )
        ),
    )


def regions_of(version):
    """Returns name, count and storage type of a version's regions."""
    regions = version.publishing_profile.target_regions
    return [(r.name, r.regional_replica_count, r.storage_account_type) for r in regions]


def make_version(world):
    """A version is made from the blob, replicated to two regions and shown with its status."""
    versions = world.compute.gallery_image_versions
    sent = version_body(world)
    made = versions.begin_create_or_update(GROUP, GALLERY, IMAGE, VERSION, sent).result()
    assert made.provisioning_state == "Succeeded"
    wanted = [("East US", 2, "Standard_LRS"), ("West Europe", 1, "Premium_LRS")]
    assert regions_of(made) == wanted, regions_of(made)
    profile, disk = made.publishing_profile, made.storage_profile.os_disk_image
    assert profile.end_of_life_date == sent.publishing_profile.end_of_life_date
    assert profile.replication_mode == "Full" and not profile.exclude_from_latest
    assert disk.host_caching == "ReadOnly" and disk.source.uri == world.blob_url
    assert disk.size_in_gb == 1 and made.replication_status is None
    assert made.safety_profile.allow_deletion_of_replicated_locations
    shown = versions.get(GROUP, GALLERY, IMAGE, VERSION, expand="ReplicationStatus")
    status = shown.replication_status
    assert status.aggregated_state == "Completed", status
    summary = [(part.region, part.state, part.progress) for part in status.summary]
    assert summary == [(HOME, "Completed", 100), (FAR, "Completed", 100)], summary
    world.version_id, world.published = made.id, profile.published_date
    say("image version: from a blob to two regions, counts, storage types, replication status")


def change_version(world):
    """A version changes by PATCH and by sending back what was read; the list shows it."""
    versions = world.compute.gallery_image_versions
    region = compute.TargetRegion
    shown = versions.get(GROUP, GALLERY, IMAGE, VERSION)
    shown.publishing_profile.target_regions.append(region(name=SPARE))
    more = versions.begin_create_or_update(GROUP, GALLERY, IMAGE, VERSION, shown).result()
    assert [name for name, _, _ in regions_of(more)] == ["East US", "West Europe", "West US 2"]
    profile = compute.GalleryImageVersionPublishingProfile(
        target_regions=[region(name=HOME, regional_replica_count=3), region(name=FAR)],
        end_of_life_date=in_days(600),
    )
    update = compute.GalleryImageVersionUpdate(tags={"build": "43"}, publishing_profile=profile)
    changed = versions.begin_update(GROUP, GALLERY, IMAGE, VERSION, update).result()
    wanted = [("East US", 3, "Standard_LRS"), ("West Europe", 1, "Premium_LRS")]
    assert regions_of(changed) == wanted and changed.tags == {"build": "43"}, regions_of(changed)
    assert changed.publishing_profile.published_date == world.published
    assert changed.storage_profile.os_disk_image.source.uri == world.blob_url
    listed = list(versions.list_by_gallery_image(GROUP, GALLERY, IMAGE))
    assert [item.name for item in listed] == [VERSION] and listed[0].tags == {"build": "43"}
    say("image version: region added by PUT, removed by PATCH, list")


def make_disk(world):
    """A disk of the version in the far region takes over what the definition says."""
    disks = world.compute.disks
    body = compute.Disk(
        location=FAR,
        sku=compute.DiskSku(name="StandardSSD_LRS"),
        creation_data=compute.CreationData(
            create_option="FromImage",
            gallery_image_reference=compute.ImageDiskReference(id=world.version_id),
        ),
    )
    made = disks.begin_create_or_update(GROUP, "far", body).result()
    assert made.provisioning_state == "Succeeded" and made.disk_state == "Unattached"
    assert (made.os_type, made.hyper_v_generation) == ("Linux", "V2")
    assert made.disk_size_bytes == world.size - FOOTER_BYTES and made.disk_size_gb == 1
    assert made.sku.name == "StandardSSD_LRS" and made.location == FAR
    assert made.creation_data.gallery_image_reference.id == world.version_id
    assert [item.name for item in disks.list_by_resource_group(GROUP)] == ["far"]
    changed = disks.begin_update(GROUP, "far", compute.DiskUpdate(tags={"a": "b"})).result()
    assert changed.tags == {"a": "b"} and changed.disk_size_bytes == made.disk_size_bytes
    say("disk: from the version in the far region, list, update")


def download_disk(world):
    """The disk comes out through its URL with the bytes that went in; then the URL is closed."""
    disks = world.compute.disks
    wanted = compute.GrantAccessData(access="Read", duration_in_seconds=3600)
    url = disks.begin_grant_access(GROUP, "far", wanted).result().access_sas
    assert disks.get(GROUP, "far").disk_state == "ActiveSAS"
    blob = BlobClient.from_blob_url(url)
    assert blob.get_blob_properties().size == world.size
    held = sum(page.end - page.start + 1 for page in blob.list_page_ranges())
    assert held < world.size * 3 // 4, held
    with tempfile.TemporaryFile() as file:
        blob.download_blob(max_concurrency=2).readinto(file)
        # Pieces arrive side by side: where the last one ended says nothing.
        assert file.seek(0, io.SEEK_END) == world.size, file.tell()
        file.seek(0)
        assert digest_of(file, world.size - FOOTER_BYTES) == world.digest()
        assert file.read(8) == b"conectix", "a VHD footer closes the file"
    disks.begin_revoke_access(GROUP, "far").result()
    assert disks.get(GROUP, "far").disk_state == "Unattached"
    try:
        blob.download_blob()
    except HttpResponseError as error:
        assert error.status_code == 403, error
    else:
        raise AssertionError("a revoked URL still reads")
    disks.begin_delete(GROUP, "far").result()
    refused("ResourceNotFound", 404, disks.get, GROUP, "far")
    say("disk: access granted, downloaded with the same SHA-256, revoked, deleted")


def refuse_at_once(world):
    """What is wrong is refused before anything happens, with the service's code."""
    client, blob = world.compute, version_body(world)
    put_gallery = client.galleries.begin_create_or_update
    put_image = client.gallery_images.begin_create_or_update
    put_version = client.gallery_image_versions.begin_create_or_update
    here, nowhere = compute.Gallery(location=HOME), compute.Gallery(location="atlantis")
    refused("InvalidParameter", 400, put_gallery, GROUP, "has-a-dash", here)
    refused("LocationNotAvailableForResourceType", 400, put_gallery, GROUP, "lost", nowhere)
    refused("ResourceGroupNotFound", 404, put_gallery, "no-such-group", "sig", here)
    refused("ResourceNotFound", 404, client.galleries.get, GROUP, "absent")
    refused("ParentResourceNotFound", 404, put_image, GROUP, "absent", IMAGE, image_body())
    other = image_body()
    other.os_type = "Windows"
    error = refused("PropertyChangeNotAllowed", 409, put_image, GROUP, GALLERY, IMAGE, other)
    assert error.error.target == "galleryImage.properties.osType", error.error.target
    refused("OperationNotAllowed", 409, put_image, GROUP, GALLERY, "twin", image_body())
    error = refused("InvalidParameter", 400, put_version, GROUP, GALLERY, IMAGE, "1.0", blob)
    assert "Major(int).Minor(int).Patch(int)" in error.error.message, error.error.message
    regions = blob.publishing_profile.target_regions
    regions[0].regional_replica_count = 101
    refused("InvalidParameter", 400, put_version, GROUP, GALLERY, IMAGE, "2.0.0", blob)
    regions[0].regional_replica_count, regions[1].name = 1, HOME
    error = refused("InvalidParameter", 400, put_version, GROUP, GALLERY, IMAGE, "2.0.0", blob)
    assert error.error.message == "Duplicate regions are not allowed in target publishing regions."
    reference = compute.ImageDiskReference(id=world.version_id)
    creation = compute.CreationData(create_option="FromImage", gallery_image_reference=reference)
    disk = compute.Disk(location=SPARE, creation_data=creation)
    refused("GalleryImageNotFound", 404, client.disks.begin_create_or_update, GROUP, "lost", disk)
    for nested in [
        (client.galleries.begin_delete, GROUP, GALLERY),
        (client.gallery_images.begin_delete, GROUP, GALLERY, IMAGE),
    ]:
        refused("CannotDeleteResource", 409, *nested)
    say("refusals: names, places, parents, immutables, counts, regions, nested resources")


def refuse_later(world):
    """What only shows while working fails the operation and leaves the version Failed."""
    versions = world.compute.gallery_image_versions
    junk = world.blobs.get_blob_client(CONTAINER, "junk.vhd")
    junk.upload_blob(bytes(range(256)) * 4096, BlobType.PAGEBLOB)
    body = version_body(world)
    body.storage_profile.os_disk_image.source.uri = junk.url
    poller = versions.begin_create_or_update(GROUP, GALLERY, IMAGE, "9.0.0", body)
    try:
        poller.result()
    except HttpResponseError as error:
        assert poller.status() == "Failed", poller.status()
        assert "not a fixed VHD" in error.message, error.message
    else:
        raise AssertionError("junk became a version")
    assert versions.get(GROUP, GALLERY, IMAGE, "9.0.0").provisioning_state == "Failed"
    versions.begin_delete(GROUP, GALLERY, IMAGE, "9.0.0").result()
    say("refusals: a blob that is no VHD fails the operation, and the failed version goes")


def deleted_versions(world):
    """Returns the names of the soft-deleted versions; this SDK has no method of its own for them."""
    path = f"/subscriptions/{world.subscription}/resourceGroups/{GROUP}/providers/Microsoft.Compute"
    path += f"/galleries/{GALLERY}/softDeletedArtifactTypes/Images/artifacts/{IMAGE}/versions"
    raw = world.resource.resources.get_by_id(
        path, "2024-03-03", cls=lambda response, _body, _headers: response.http_response.json()
    )
    return [item["name"] for item in raw["value"]]


def soft_delete(world):
    """With soft delete on, a version goes and comes back whole in both forms of asking."""
    client, versions = world.compute, world.compute.gallery_image_versions
    place = (GROUP, GALLERY, IMAGE, VERSION)
    policy = compute.SoftDeletePolicy(is_soft_delete_enabled=True)
    update = compute.GalleryUpdate(soft_delete_policy=policy)
    on = client.galleries.begin_update(GROUP, GALLERY, update).result()
    assert on.soft_delete_policy.is_soft_delete_enabled and on.description == "changed"
    plain = compute.GalleryImageVersion(location=HOME, tags={"back": "1"})
    asked = json.dumps({"location": HOME, "properties": {"restore": True}}).encode()
    newer = {"api_version": "2024-03-03", "content_type": "application/json"}
    for body, options in [(plain, {}), (io.BytesIO(asked), newer)]:
        versions.begin_delete(*place).result()
        refused("ResourceNotFound", 404, versions.get, *place)
        assert list(versions.list_by_gallery_image(GROUP, GALLERY, IMAGE)) == []
        assert deleted_versions(world) == [VERSION]
        versions.begin_create_or_update(*place, body, **options).result()
        back = versions.get(*place, expand="ReplicationStatus")
        assert back.provisioning_state == "Succeeded", back.provisioning_state
        assert back.publishing_profile.published_date == world.published
        assert back.replication_status.aggregated_state == "Completed", back.replication_status
        assert back.tags == {"back": "1"} and len(regions_of(back)) == 2
        assert deleted_versions(world) == []
    make_disk(world)
    download_disk(world)
    say("soft delete: gone, listed, restored by location and by restore, bytes the same")


def delete_all(world):
    """Everything goes, from the inside out, and stays gone."""
    client = world.compute
    client.gallery_image_versions.begin_delete(GROUP, GALLERY, IMAGE, VERSION).result()
    refused("CannotDeleteResource", 409, client.gallery_images.begin_delete, GROUP, GALLERY, IMAGE)
    policy = compute.SoftDeletePolicy(is_soft_delete_enabled=False)
    update = compute.GalleryUpdate(soft_delete_policy=policy)
    client.galleries.begin_update(GROUP, GALLERY, update).result()
    client.gallery_images.begin_delete(GROUP, GALLERY, IMAGE).result()
    client.galleries.begin_delete(GROUP, GALLERY).result()
    refused("ResourceNotFound", 404, client.galleries.get, GROUP, GALLERY)
    client.galleries.begin_delete(GROUP, GALLERY).result()
    world.blobs.delete_container(CONTAINER)
    world.storage.storage_accounts.delete(GROUP, ACCOUNT)
    try:
        world.storage.storage_accounts.get_properties(GROUP, ACCOUNT)
    except ResourceNotFoundError as error:
        assert code_of(error) == "ResourceNotFound", error
    else:
        raise AssertionError("the account is still there")
    world.resource.resource_groups.begin_delete(GROUP).result()
    assert not world.resource.resource_groups.check_existence(GROUP)
    say("deletes: version, definition, gallery (twice), container, account, group")


STEPS = [
    sign_in,
    look_around,
    make_group,
    use_generic_resources,
    make_account,
    upload_vhd,
    use_block_blobs,
    use_signatures,
    use_conditions,
    use_tokens_and_new_keys,
    make_gallery,
    share_gallery,
    make_image,
    make_version,
    change_version,
    make_disk,
    download_disk,
    refuse_at_once,
    refuse_later,
    use_applications,
    soft_delete,
    delete_all,
]


def main():
    """Runs all steps on the gallery of a credentials file."""
    with open(sys.argv[1], encoding="utf-8") as file:
        world = World(json.load(file), sys.argv[2])
    for step in STEPS:
        step(world)
    say(f"all {len(STEPS)} steps")


if __name__ == "__main__":
    main()
