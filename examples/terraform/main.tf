# A snapshot of a disk becomes an image version in two regions, and a machine is made of the version.
#
#   eval "$(vitrine env terraform)"
#   terraform init
#   terraform apply -var source_disk_id=/subscriptions/…/disks/golden

terraform {
  required_version = ">= 1.5"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.0"
    }
  }
}

# metadata_host, subscription_id, tenant_id, client_id and client_secret come from the environment.
provider "azurerm" {
  features {}
  resource_provider_registrations = "none"
}

variable "source_disk_id" {
  description = "Id of a disk with an operating system, generalized."
  type        = string
}

variable "location" {
  type    = string
  default = "eastus"
}

variable "replicas" {
  description = "Where the version is kept, and in how many copies."
  type        = map(number)
  default     = { eastus = 1, westus2 = 1 }
}

variable "ssh_public_key" {
  type    = string
  default = "~/.ssh/id_ed25519.pub"
}

resource "azurerm_resource_group" "images" {
  name     = "images"
  location = var.location
}

resource "azurerm_shared_image_gallery" "gallery" {
  name                = "pipeline"
  resource_group_name = azurerm_resource_group.images.name
  location            = azurerm_resource_group.images.location
}

resource "azurerm_shared_image" "debian" {
  name                = "debian"
  gallery_name        = azurerm_shared_image_gallery.gallery.name
  resource_group_name = azurerm_resource_group.images.name
  location            = azurerm_resource_group.images.location
  os_type             = "Linux"
  hyper_v_generation  = "V2"

  identifier {
    publisher = "acme"
    offer     = "debian"
    sku       = "base"
  }
}

resource "azurerm_snapshot" "golden" {
  name                = "golden"
  resource_group_name = azurerm_resource_group.images.name
  location            = azurerm_resource_group.images.location
  create_option       = "Copy"
  source_uri          = var.source_disk_id
}

resource "azurerm_shared_image_version" "first" {
  name                = "1.0.0"
  gallery_name        = azurerm_shared_image_gallery.gallery.name
  image_name          = azurerm_shared_image.debian.name
  resource_group_name = azurerm_resource_group.images.name
  location            = azurerm_resource_group.images.location
  os_disk_snapshot_id = azurerm_snapshot.golden.id

  dynamic "target_region" {
    for_each = var.replicas
    content {
      name                   = target_region.key
      regional_replica_count = target_region.value
    }
  }
}

resource "azurerm_virtual_network" "net" {
  name                = "net"
  resource_group_name = azurerm_resource_group.images.name
  location            = azurerm_resource_group.images.location
  address_space       = ["10.0.0.0/16"]
}

resource "azurerm_subnet" "default" {
  name                 = "default"
  resource_group_name  = azurerm_resource_group.images.name
  virtual_network_name = azurerm_virtual_network.net.name
  address_prefixes     = ["10.0.0.0/24"]
}

resource "azurerm_public_ip" "address" {
  name                = "address"
  resource_group_name = azurerm_resource_group.images.name
  location            = azurerm_resource_group.images.location
  allocation_method   = "Static"
}

resource "azurerm_network_interface" "nic" {
  name                = "nic"
  resource_group_name = azurerm_resource_group.images.name
  location            = azurerm_resource_group.images.location

  ip_configuration {
    name                          = "primary"
    subnet_id                     = azurerm_subnet.default.id
    private_ip_address_allocation = "Dynamic"
    public_ip_address_id          = azurerm_public_ip.address.id
  }
}

resource "azurerm_linux_virtual_machine" "machine" {
  name                  = "machine"
  resource_group_name   = azurerm_resource_group.images.name
  location              = azurerm_resource_group.images.location
  size                  = "Standard_B1s"
  admin_username        = "me"
  network_interface_ids = [azurerm_network_interface.nic.id]
  source_image_id       = azurerm_shared_image_version.first.id

  admin_ssh_key {
    username   = "me"
    public_key = file(pathexpand(var.ssh_public_key))
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Standard_LRS"
  }
}

output "version" {
  value = azurerm_shared_image_version.first.id
}

output "ssh" {
  value = "ssh me@${azurerm_public_ip.address.ip_address}"
}
