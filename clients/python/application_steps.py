"""Applications of a gallery: a package goes in, is replicated, listed, changed and deleted."""

from azure.mgmt.compute import models as compute

from world import GROUP, HOME, refused, say

GALLERY, APPLICATION, VERSION = "python_apps", "agent", "1.0.0"


def use_applications(world):
    """An application with a version in two regions; it goes after its version only."""
    client, versions = world.compute, world.compute.gallery_application_versions
    client.galleries.begin_create_or_update(GROUP, GALLERY, compute.Gallery(location=HOME)).result()
    place = (GROUP, GALLERY, APPLICATION)
    body = compute.GalleryApplication(location=HOME, supported_os_type="Linux")
    made = client.gallery_applications.begin_create_or_update(*place, body).result()
    assert made.supported_os_type == "Linux" and made.name == APPLICATION
    profile = compute.GalleryApplicationVersionPublishingProfile(
        source=compute.UserArtifactSource(media_link=world.blob_url),
        manage_actions=compute.UserArtifactManage(install="./install", remove="./remove"),
        target_regions=[compute.TargetRegion(name=HOME), compute.TargetRegion(name="westus2")],
    )
    version = compute.GalleryApplicationVersion(location=HOME, publishing_profile=profile)
    made = versions.begin_create_or_update(*place, VERSION, version).result()
    assert made.provisioning_state == "Succeeded", made.provisioning_state
    assert made.publishing_profile.enable_health_check is False
    shown = versions.get(*place, VERSION, expand="ReplicationStatus")
    assert shown.replication_status.aggregated_state == "Completed", shown.replication_status
    assert [item.name for item in versions.list_by_gallery_application(*place)] == [VERSION]
    refused("CannotDeleteResource", 409, client.gallery_applications.begin_delete, *place)
    versions.begin_delete(*place, VERSION).result()
    client.gallery_applications.begin_delete(*place).result()
    assert list(client.gallery_applications.list_by_gallery(GROUP, GALLERY)) == []
    client.galleries.begin_delete(GROUP, GALLERY).result()
    say("applications: create, version in two regions, list, delete")
