"""Machines at the newest api-version of the Azure SDK for Python: from a version through their lives to images of them.

    machine_steps.py CREDENTIALS_JSON FIXED_VHD

The VHD is not used. Prints one line per step and ends with 0 when all held.
"""

import json
import os
import ssl
import sys
import urllib.request

from machines import GALLERY, IMAGE, VERSION, machine_of, power_of, publish
from world import GROUP, HOME, World, refused, say

NAME = "one"


def disk_of(world, name, **creation):
    """Makes a disk."""
    body = {"location": HOME, "creation_data": creation or {"create_option": "Empty"}}
    if not creation:
        body["disk_size_gb"] = 1
    return world.compute.disks.begin_create_or_update(GROUP, name, body).result()


def create(world, image):
    """Makes a machine of `latest` whose system disk goes with it; returns the machine."""
    machines, models = world.compute.virtual_machines, world.compute.virtual_machines.models
    body = machine_of(models, image)
    body.storage_profile.os_disk.delete_option = "Delete"
    body.diagnostics_profile = models.DiagnosticsProfile(
        boot_diagnostics=models.BootDiagnostics(enabled=True)
    )
    made = machines.begin_create_or_update(GROUP, NAME, body).result()
    assert made.storage_profile.image_reference.exact_version == VERSION
    assert power_of(machines, NAME) == "PowerState/running"
    assert [m.name for m in machines.list(GROUP)] == [NAME]
    view = machines.get(GROUP, NAME, expand="instanceView").instance_view
    assert view.disks[0].name == made.storage_profile.os_disk.name
    assert view.boot_diagnostics is not None
    say("create, list, instance view")
    return made


def change_disks(world):
    """Attaches and detaches several disks at once."""
    machines, models = world.compute.virtual_machines, world.compute.virtual_machines.models
    first, second = disk_of(world, "first"), disk_of(world, "second")
    attach = models.AttachDetachDataDisksRequest(
        data_disks_to_attach=[
            models.DataDisksToAttach(disk_id=first.id),
            models.DataDisksToAttach(disk_id=second.id, lun=5),
        ]
    )
    profile = machines.begin_attach_detach_data_disks(GROUP, NAME, attach).result()
    assert [(d.lun, d.name) for d in profile.data_disks] == [(0, "first"), (5, "second")]
    assert world.compute.disks.get(GROUP, "first").disk_state == "Attached"
    detach = models.AttachDetachDataDisksRequest(
        data_disks_to_detach=[models.DataDisksToDetach(disk_id=first.id)]
    )
    profile = machines.begin_attach_detach_data_disks(GROUP, NAME, detach).result()
    assert [d.name for d in profile.data_disks] == ["second"]
    assert world.compute.disks.get(GROUP, "first").disk_state == "Unattached"
    refused("OperationNotAllowed", 409, machines.begin_attach_detach_data_disks, GROUP, NAME, detach)
    say("attach and detach by ids")


def snapshots(world, machine):
    """Takes snapshots of the disk of a running machine, and disks of them."""
    compute = world.compute
    os_disk = machine.storage_profile.os_disk.managed_disk.id
    for name, incremental in [("full", False), ("incremental", True)]:
        body = {
            "location": HOME,
            "incremental": incremental,
            "creation_data": {"create_option": "Copy", "source_resource_id": os_disk},
        }
        made = compute.snapshots.begin_create_or_update(GROUP, name, body).result()
        assert (made.provisioning_state, made.incremental) == ("Succeeded", incremental)
        disk = disk_of(world, f"of-{name}", create_option="Copy", source_resource_id=made.id)
        assert disk.disk_state == "Unattached" and disk.os_type == "Linux"
    assert sorted(s.name for s in compute.snapshots.list()) == ["full", "incremental"]
    compute.snapshots.begin_delete(GROUP, "full").result()
    say("snapshots of a running machine's disk")


def power(world, machine):
    """Goes through power, reimaging and what is not offered."""
    machines, models = world.compute.virtual_machines, world.compute.virtual_machines.models
    for verb, state in [
        (machines.begin_restart, "running"),
        (machines.begin_redeploy, "running"),
        (machines.begin_reapply, "running"),
        (machines.begin_power_off, "stopped"),
        (machines.begin_start, "running"),
        (machines.begin_deallocate, "deallocated"),
    ]:
        verb(GROUP, NAME).result()
        assert power_of(machines, NAME) == f"PowerState/{state}", verb
    again = models.VirtualMachineReimageParameters(
        os_profile=models.OSProfileProvisioningData(custom_data="aGVsbG8=")
    )
    machines.begin_reimage(GROUP, NAME, again).result()
    assert power_of(machines, NAME) == "PowerState/running"
    now = machines.get(GROUP, NAME).storage_profile.os_disk.name
    before = machine.storage_profile.os_disk.name
    assert now != before
    refused("ResourceNotFound", 404, world.compute.disks.get, GROUP, before)
    for call, more in [
        (machines.simulate_eviction, []),
        (machines.begin_perform_maintenance, []),
        (machines.begin_convert_to_managed_disks, []),
        (machines.begin_assess_patches, []),
        (machines.begin_run_command, [models.RunCommandInput(command_id="RunShellScript")]),
    ]:
        refused("OperationNotAllowed", 409, call, GROUP, NAME, *more)
    extensions = world.compute.virtual_machine_extensions
    assert not extensions.list(GROUP, NAME).value
    refused("ResourceNotFound", 404, extensions.get, GROUP, NAME, "x")
    sizes = world.compute.virtual_machine_sizes.list(HOME)
    assert "Standard_B2s" in [size.name for size in sizes]
    log = machines.retrieve_boot_diagnostics_data(GROUP, NAME).serial_console_log_blob_uri
    tls = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
    with urllib.request.urlopen(log, context=tls) as answer:
        assert answer.status == 200
    say("power, reimage, what is not offered, the serial log")


def capture(world, machine):
    """Makes a managed image and an image version of the machine, and machines of both."""
    compute, models = world.compute, world.compute.virtual_machines.models
    machines = compute.virtual_machines
    machines.begin_deallocate(GROUP, NAME).result()
    machines.generalize(GROUP, NAME)
    image = compute.images.begin_create_or_update(
        GROUP,
        "captured",
        {"location": HOME, "source_virtual_machine": {"id": machine.id}, "hyper_v_generation": "V2"},
    ).result()
    assert image.storage_profile.data_disks[0].lun == 5
    source = {"virtual_machine_id": machine.id}
    version = compute.gallery_image_versions.begin_create_or_update(
        GROUP,
        GALLERY,
        IMAGE,
        "2.0.0",
        {"location": HOME, "storage_profile": {"source": source}},
    ).result()
    assert version.provisioning_state == "Succeeded"
    assert version.storage_profile.data_disk_images[0].lun == 5
    refused("OperationNotAllowed", 409, machines.begin_start, GROUP, NAME)
    machines.begin_delete(GROUP, NAME).result()
    gone = machine.storage_profile.os_disk.name
    refused("ResourceNotFound", 404, compute.disks.get, GROUP, gone)
    assert compute.disks.get(GROUP, "second").disk_state == "Unattached"
    for name, made_of in [("two", image.id), ("three", version.id)]:
        body = machine_of(models, made_of)
        made = machines.begin_create_or_update(GROUP, name, body).result()
        assert [d.lun for d in made.storage_profile.data_disks] == [5]
    assert [i.name for i in compute.images.list()] == ["captured"]
    for name in ("two", "three"):
        machines.begin_delete(GROUP, name).result()
    compute.images.begin_delete(GROUP, "captured").result()
    assert not list(machines.list_all()) and not list(compute.images.list())
    say("generalize, capture, delete")


def main():
    """Goes through all steps on the gallery of a credentials file."""
    with open(sys.argv[1], encoding="utf-8") as file:
        world = World(json.load(file), sys.argv[2])
    world.resource.resource_groups.create_or_update(GROUP, {"location": HOME})
    machine = create(world, publish(world))
    change_disks(world)
    snapshots(world, machine)
    power(world, machine)
    capture(world, machine)


if __name__ == "__main__":
    main()
