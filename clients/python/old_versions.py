"""A gallery through every api-version that the Azure SDK for Python still has models for.

    old_versions.py CREDENTIALS_JSON FIXED_VHD

Each api-version makes, reads, changes, lists and deletes with its own models, so that old answers
fit old clients. The VHD is not used. Prints one line per api-version and ends with 0 when all held.
"""

import json
import sys

from azure.mgmt.compute import ComputeManagementClient

from world import GROUP, HOME, World, refused, say

GALLERIES = ["2019-07-01", "2019-12-01", "2021-07-01", "2021-10-01", "2022-01-03", "2023-07-03"]
DISKS = ["2020-05-01", "2022-03-02", "2023-04-02", "2023-10-02", "2024-03-02"]
FAR, IMAGE, VERSION = "westus2", "debian", "1.0.0"


def client_of(world, api_version):
    """Returns a client that speaks one api-version, and its models."""
    client = ComputeManagementClient(
        world.credential,
        world.subscription,
        api_version=api_version,
        base_url=world.endpoint,
        credential_scopes=[f"{world.endpoint}/.default"],
    )
    return client, ComputeManagementClient.models(api_version)


def make_source(world):
    """Makes the empty disk that all versions are made from; returns its id."""
    client, models = client_of(world, DISKS[0])
    creation = models.CreationData(create_option="Empty")
    body = models.Disk(location=HOME, disk_size_gb=1, creation_data=creation)
    return client.disks.begin_create_or_update(GROUP, "source", body).result().id


def version_body(models, source):
    """Returns a version of the disk for two regions."""
    region = models.TargetRegion
    profile = models.GalleryImageVersionPublishingProfile(
        target_regions=[region(name=HOME, regional_replica_count=2), region(name=FAR)],
        storage_account_type="Standard_LRS",
    )
    of = {"id": source}
    # The class of a disk's source has had two names.
    kind = getattr(models, "GalleryDiskImageSource", None) or models.GalleryArtifactVersionSource
    disk = models.GalleryOSDiskImage(host_caching="ReadOnly", source=kind(**of))
    storage = models.GalleryImageVersionStorageProfile(os_disk_image=disk)
    return models.GalleryImageVersion(
        location=HOME, publishing_profile=profile, storage_profile=storage
    )


def go_through(world, api_version, source):
    """Makes a gallery with a version, changes it, and deletes all of it again."""
    client, models = client_of(world, api_version)
    galleries, images = client.galleries, client.gallery_images
    versions = client.gallery_image_versions
    gallery = "old_" + api_version.replace("-", "_")
    place = (GROUP, gallery, IMAGE, VERSION)
    body = models.Gallery(location=HOME, description="old", tags={"a": "b"})
    made = galleries.begin_create_or_update(GROUP, gallery, body).result()
    assert (made.provisioning_state, made.description) == ("Succeeded", "old")
    identifier = models.GalleryImageIdentifier(publisher="acme", offer="debian", sku="12")
    body = models.GalleryImage(
        location=HOME, os_type="Linux", os_state="Generalized", identifier=identifier
    )
    made = images.begin_create_or_update(GROUP, gallery, IMAGE, body).result()
    assert made.hyper_v_generation == "V1" and not getattr(made, "features", None)
    made = versions.begin_create_or_update(*place, version_body(models, source)).result()
    assert made.provisioning_state == "Succeeded"
    names = [region.name for region in made.publishing_profile.target_regions]
    assert names == ["East US", "West US 2"], names
    shown = versions.get(*place, expand="ReplicationStatus")
    assert shown.replication_status.aggregated_state == "Completed"
    assert shown.storage_profile.os_disk_image.source.id == source
    shown.publishing_profile.target_regions[1].regional_replica_count = 3
    changed = versions.begin_create_or_update(*place, shown).result()
    counts = [r.regional_replica_count for r in changed.publishing_profile.target_regions]
    assert counts == [2, 3], counts
    tags = versions.begin_update(*place, models.GalleryImageVersionUpdate(tags={"c": "d"})).result()
    assert tags.tags == {"c": "d"} and len(tags.publishing_profile.target_regions) == 2
    assert [v.name for v in versions.list_by_gallery_image(GROUP, gallery, IMAGE)] == [VERSION]
    refused("CannotDeleteResource", 409, galleries.begin_delete, GROUP, gallery)
    return lambda: delete_all(client, place)


def delete_all(client, place):
    """Deletes a version, its definition and its gallery."""
    client.gallery_image_versions.begin_delete(*place).result()
    client.gallery_images.begin_delete(*place[:3]).result()
    client.galleries.begin_delete(*place[:2]).result()
    refused("ResourceNotFound", 404, client.galleries.get, *place[:2])


def make_disk(world, api_version, version):
    """Makes a disk of a version, opens and closes it, and deletes it."""
    client, models = client_of(world, api_version)
    reference = models.ImageDiskReference(id=version)
    creation = models.CreationData(create_option="FromImage", gallery_image_reference=reference)
    body = models.Disk(location=FAR, creation_data=creation)
    made = client.disks.begin_create_or_update(GROUP, "made", body).result()
    assert (made.provisioning_state, made.os_type, made.disk_size_gb) == ("Succeeded", "Linux", 1)
    assert made.creation_data.gallery_image_reference.id == version
    wanted = models.GrantAccessData(access="Read", duration_in_seconds=600)
    opened = client.disks.begin_grant_access(GROUP, "made", wanted).result()
    assert opened.access_sas.startswith(world.endpoint), opened
    assert client.disks.get(GROUP, "made").disk_state == "ActiveSAS"
    client.disks.begin_revoke_access(GROUP, "made").result()
    client.disks.begin_delete(GROUP, "made").result()
    refused("ResourceNotFound", 404, client.disks.get, GROUP, "made")


def main():
    """Goes through all api-versions on the gallery of a credentials file."""
    with open(sys.argv[1], encoding="utf-8") as file:
        world = World(json.load(file), sys.argv[2])
    world.resource.resource_groups.create_or_update(GROUP, {"location": HOME})
    source = make_source(world)
    deletes = []
    for api_version in GALLERIES:
        deletes.append(go_through(world, api_version, source))
        say(f"galleries {api_version}")
    newest = world.compute.gallery_image_versions
    gallery = "old_" + GALLERIES[0].replace("-", "_")
    version = newest.get(GROUP, gallery, IMAGE, VERSION).id
    for api_version in DISKS:
        make_disk(world, api_version, version)
        say(f"disks {api_version}")
    for delete in deletes:
        delete()
    say("everything deleted by who made it")


if __name__ == "__main__":
    main()
