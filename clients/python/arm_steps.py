"""The steps of ARM itself: subscriptions, tenants, locations, providers, tags, generic resources."""

from azure.mgmt.resource import SubscriptionClient
from azure.mgmt.resource.resources.models import GenericResource, Tags, TagsPatchResource, TagsResource

from world import GROUP, HOME, refused, say

API_VERSION = "2025-01-02"


def look_around(world):
    """The subscription, its tenant, its locations and what is served there are found."""
    scopes = [f"{world.endpoint}/.default"]
    client = SubscriptionClient(world.credential, base_url=world.endpoint, credential_scopes=scopes)
    shown = client.subscriptions.get(world.subscription)
    assert (shown.subscription_id, shown.state) == (world.subscription, "Enabled")
    assert world.subscription in [s.subscription_id for s in client.subscriptions.list()]
    assert [tenant.tenant_id for tenant in client.tenants.list()] == [world.tenant]
    places = {place.name: place for place in client.subscriptions.list_locations(world.subscription)}
    assert places[HOME].display_name == "East US", places
    refused("SubscriptionNotFound", 404, client.subscriptions.get, "0" * 8 + world.subscription[8:])
    providers = world.resource.providers
    provider = providers.get("Microsoft.Compute")
    assert provider.registration_state == "Registered"
    types = {kind.resource_type: kind for kind in provider.resource_types}
    assert "2023-07-03" in types["galleries/images/versions"].api_versions
    assert "East US" in types["disks"].locations
    assert providers.register("Microsoft.Storage").registration_state == "Registered"
    names = [provider.namespace for provider in providers.list()]
    assert "Microsoft.Compute" in names and "Microsoft.Storage" in names
    refused("InvalidResourceNamespace", 404, providers.get, "Microsoft.Nothing")
    say("subscription, tenant, locations, providers")


def use_generic_resources(world):
    """A disk as a generic resource is made, found, tagged in four ways and deleted."""
    resources, tags = world.resource.resources, world.resource.tags
    head = f"/subscriptions/{world.subscription}/resourceGroups/{GROUP}/providers"
    disk = f"{head}/Microsoft.Compute/disks/generic"
    properties = {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1}
    body = GenericResource(location=HOME, properties=properties, tags={"ä ö": "ü 🌍", "a": "b"})
    made = resources.begin_create_or_update_by_id(disk, API_VERSION, body).result()
    assert made.properties["provisioningState"] == "Succeeded" and made.tags == body.tags
    assert resources.check_existence_by_id(disk, API_VERSION)
    assert not resources.check_existence_by_id(disk + "x", API_VERSION)
    wanted = {"filter": "tagName eq 'a' and tagValue eq 'b'", "expand": "createdTime,provisioningState"}
    found = list(resources.list(**wanted))
    assert [item.name for item in found] == ["generic"], found
    assert found[0].created_time and found[0].provisioning_state == "Succeeded", found[0]
    by_group = resources.list_by_resource_group(
        GROUP, filter="resourceType eq 'Microsoft.Compute/disks'"
    )
    assert "generic" in [item.name for item in by_group]

    def changed(operation, **pairs):
        patch = TagsPatchResource(operation=operation, properties=Tags(tags=pairs))
        return tags.begin_update_at_scope(disk, patch).result().properties.tags

    assert changed("Merge", c="d") == {**body.tags, "c": "d"}
    assert changed("Delete", c="d") == body.tags
    assert changed("Replace", e="f") == {"e": "f"}
    whole = TagsResource(properties=Tags(tags={"g": "h"}))
    tags.begin_create_or_update_at_scope(disk, whole).result()
    assert tags.get_at_scope(disk).properties.tags == {"g": "h"}
    assert resources.get_by_id(disk, API_VERSION).tags == {"g": "h"}
    names = {item.tag_name for item in tags.list()}
    assert "g" in names, names
    tags.begin_delete_at_scope(disk).result()
    assert not tags.get_at_scope(disk).properties.tags
    resources.begin_delete_by_id(disk, API_VERSION).result()
    refused("ResourceNotFound", 404, resources.get_by_id, disk, API_VERSION)
    say("generic resources: make, exists, filter, tags in four ways, delete")
