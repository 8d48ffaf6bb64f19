# The newest version becomes a machine, the machine is changed, and becomes the next version.
#
#   eval "$(vitrine env packer)"
#   packer init .
#   packer build -var next=1.1.0 .
#
# For Packer 1.7 and newer with the azure plugin 2.0 and newer; debian-1.6.json is for what is older.

packer {
  required_plugins {
    azure = {
      source  = "github.com/hashicorp/azure"
      version = ">= 2.0"
    }
  }
}

variable "next" {
  description = "The number of the version that is made."
  type        = string
}

variable "from" {
  description = "The number of the version that it is made of."
  type        = string
  default     = "latest"
}

variable "group" {
  type    = string
  default = "images"
}

variable "gallery" {
  type    = string
  default = "pipeline"
}

variable "image" {
  type    = string
  default = "debian"
}

# What `vitrine env packer` prints. The plugin wants a URL here, whatever the name says.
variable "metadata_url" {
  type    = string
  default = env("ARM_METADATA_URL")
}

variable "subscription_id" {
  type    = string
  default = env("ARM_SUBSCRIPTION_ID")
}

variable "tenant_id" {
  type    = string
  default = env("ARM_TENANT_ID")
}

variable "client_id" {
  type    = string
  default = env("ARM_CLIENT_ID")
}

variable "client_secret" {
  type      = string
  default   = env("ARM_CLIENT_SECRET")
  sensitive = true
}

source "azure-arm" "debian" {
  metadata_host          = var.metadata_url
  cloud_environment_name = "Vitrine"
  subscription_id        = var.subscription_id
  tenant_id              = var.tenant_id
  client_id              = var.client_id
  client_secret          = var.client_secret

  build_resource_group_name = var.group
  os_type                   = "Linux"
  vm_size                   = "Standard_B2s"

  shared_image_gallery {
    subscription   = var.subscription_id
    resource_group = var.group
    gallery_name   = var.gallery
    image_name     = var.image
    image_version  = var.from
  }

  shared_image_gallery_destination {
    subscription   = var.subscription_id
    resource_group = var.group
    gallery_name   = var.gallery
    image_name     = var.image
    image_version  = var.next

    target_region {
      name = "eastus"
    }
    target_region {
      name = "westus2"
    }
  }
}

build {
  sources = ["source.azure-arm.debian"]

  provisioner "shell" {
    inline = [
      "sudo apt-get update",
      "sudo apt-get install -y nginx",
    ]
  }

  # What belongs to this one machine goes; the next one makes its own.
  provisioner "shell" {
    inline = [
      "sudo cloud-init clean --logs --machine-id",
      "sudo rm -f /etc/ssh/ssh_host_*",
      "sync",
    ]
  }
}
