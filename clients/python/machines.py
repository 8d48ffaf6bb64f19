"""Machines through several api-versions of the Azure SDK for Python.

    machines.py CREDENTIALS_JSON FIXED_VHD

Each api-version makes a machine of a version, reads it, attaches and detaches a disk, goes through
its power actions, makes an image of it and deletes it. The VHD is not used. Prints one line per
api-version and ends with 0 when all held.
"""

import json
import sys

from azure.mgmt.compute import ComputeManagementClient

from world import GROUP, HOME, World, refused, say

VERSIONS = ["2017-12-01", "2019-07-01", "2020-06-01", "2021-07-01", "2024-11-01"]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m me"
GALLERY, IMAGE, VERSION = "machines", "debian", "1.0.0"


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


def publish(world):
    """Makes a version of an empty disk; returns the id of its definition."""
    compute = world.compute
    empty = {"location": HOME, "disk_size_gb": 1, "creation_data": {"create_option": "Empty"}}
    disk = compute.disks.begin_create_or_update(GROUP, "source", empty).result()
    compute.galleries.begin_create_or_update(GROUP, GALLERY, {"location": HOME}).result()
    image = {
        "location": HOME,
        "os_type": "Linux",
        "os_state": "Generalized",
        "hyper_v_generation": "V2",
        "identifier": {"publisher": "acme", "offer": "debian", "sku": "12"},
    }
    images = compute.gallery_images
    made = images.begin_create_or_update(GROUP, GALLERY, IMAGE, image).result()
    storage = {"os_disk_image": {"source": {"id": disk.id}}}
    version = {"location": HOME, "storage_profile": storage}
    versions = compute.gallery_image_versions
    versions.begin_create_or_update(GROUP, GALLERY, IMAGE, VERSION, version).result()
    return made.id


def machine_of(models, image):
    """Returns a machine as the models of an api-version say it."""
    key = models.SshPublicKey(path="/home/me/.ssh/authorized_keys", key_data=KEY)
    linux = models.LinuxConfiguration(
        disable_password_authentication=True, ssh=models.SshConfiguration(public_keys=[key])
    )
    profile = models.OSProfile(
        computer_name="one", admin_username="me", custom_data="aGVsbG8=", linux_configuration=linux
    )
    os_disk = models.OSDisk(create_option="FromImage")
    storage = models.StorageProfile(
        image_reference=models.ImageReference(id=image), os_disk=os_disk
    )
    size = models.HardwareProfile(vm_size="Standard_B2s")
    return models.VirtualMachine(
        location=HOME, hardware_profile=size, storage_profile=storage, os_profile=profile
    )


def power_of(machines, name):
    """Returns what the instance view says of a machine's power."""
    view = machines.instance_view(GROUP, name)
    return [status.code for status in view.statuses][-1]


def go_through(world, api_version, image):
    """Takes one machine through its life."""
    client, models = client_of(world, api_version)
    machines, name = client.virtual_machines, "m" + api_version.replace("-", "")
    made = machines.begin_create_or_update(GROUP, name, machine_of(models, image)).result()
    assert (made.provisioning_state, made.os_profile.custom_data) == ("Succeeded", None)
    assert made.storage_profile.os_disk.name.startswith(f"{name}_OsDisk_1_")
    if api_version > "2020":
        assert made.storage_profile.image_reference.exact_version == VERSION
    shown = machines.get(GROUP, name, expand="instanceView")
    assert shown.instance_view.statuses[-1].code == "PowerState/running"
    assert power_of(machines, name) == "PowerState/running"

    data = models.DataDisk(lun=3, create_option="Empty", disk_size_gb=2, name=f"{name}-data")
    shown.storage_profile.data_disks.append(data)
    grown = machines.begin_create_or_update(GROUP, name, shown).result()
    assert [d.lun for d in grown.storage_profile.data_disks] == [3]
    assert world.compute.disks.get(GROUP, f"{name}-data").disk_state == "Attached"
    grown.storage_profile.data_disks = []
    machines.begin_create_or_update(GROUP, name, grown).result()
    assert world.compute.disks.get(GROUP, f"{name}-data").disk_state == "Unattached"

    machines.begin_power_off(GROUP, name).result()
    assert power_of(machines, name) == "PowerState/stopped"
    machines.begin_start(GROUP, name).result()
    machines.begin_restart(GROUP, name).result()
    tags = models.VirtualMachineUpdate(tags={"a": "b"})
    assert machines.begin_update(GROUP, name, tags).result().tags == {"a": "b"}
    assert name in [m.name for m in machines.list(GROUP)]
    assert name in [m.name for m in machines.list_all()]
    assert "Standard_B2s" in [s.name for s in machines.list_available_sizes(GROUP, name)]
    of_machine = models.Image(
        location=HOME, source_virtual_machine=models.SubResource(id=made.id)
    )
    images = client.images
    refused("OperationNotAllowed", 409, images.begin_create_or_update, GROUP, name, of_machine)
    machines.begin_deallocate(GROUP, name).result()
    machines.generalize(GROUP, name)
    refused("OperationNotAllowed", 409, machines.begin_start, GROUP, name)
    captured = images.begin_create_or_update(GROUP, name, of_machine).result()
    assert captured.provisioning_state == "Succeeded"
    assert captured.storage_profile.os_disk.os_state == "Generalized"
    machines.begin_delete(GROUP, name).result()
    refused("ResourceNotFound", 404, machines.get, GROUP, name)


def main():
    """Goes through all api-versions on the gallery of a credentials file."""
    with open(sys.argv[1], encoding="utf-8") as file:
        world = World(json.load(file), sys.argv[2])
    world.resource.resource_groups.create_or_update(GROUP, {"location": HOME})
    image = publish(world)
    for api_version in VERSIONS:
        go_through(world, api_version, image)
        say(f"machines {api_version}")


if __name__ == "__main__":
    main()
