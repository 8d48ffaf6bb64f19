//! The order of members of scale sets.

use super::Orders;

/// As recorded of a flexible set.
pub(super) const SCALE_SET: Orders = &[
    (
        "",
        &[
            "singlePlacementGroup",
            "orchestrationMode",
            "upgradePolicy",
            "virtualMachineProfile",
            "provisioningState",
            "overprovision",
            "doNotRunExtensionsOnOverprovisionedVMs",
            "uniqueId",
            "platformFaultDomainCount",
            "constrainedMaximumCapacity",
            "timeCreated",
        ],
    ),
    (
        "virtualMachineProfile",
        &[
            "osProfile",
            "storageProfile",
            "networkProfile",
            "securityProfile",
            "diagnosticsProfile",
            "extensionProfile",
            "timeCreated",
        ],
    ),
    (
        "virtualMachineProfile.storageProfile",
        &["osDisk", "imageReference", "dataDisks"],
    ),
    (
        "virtualMachineProfile.storageProfile.osDisk",
        &[
            "osType",
            "createOption",
            "caching",
            "managedDisk",
            "deleteOption",
            "diskSizeGB",
        ],
    ),
    (
        "virtualMachineProfile.networkProfile",
        &["networkApiVersion", "networkInterfaceConfigurations"],
    ),
    (
        "virtualMachineProfile.networkProfile.networkInterfaceConfigurations.properties",
        &[
            "primary",
            "disableTcpStateTracking",
            "enableAcceleratedNetworking",
            "enableIPForwarding",
            "auxiliaryMode",
            "auxiliarySku",
            "deleteOption",
            "ipConfigurations",
            "networkSecurityGroup",
            "dnsSettings",
        ],
    ),
    (
        "virtualMachineProfile.networkProfile.networkInterfaceConfigurations.properties.ipConfigurations.properties",
        &[
            "privateIPAddressVersion",
            "subnet",
            "applicationSecurityGroups",
            "loadBalancerBackendAddressPools",
            "applicationGatewayBackendAddressPools",
        ],
    ),
];
