# A configuration whose root is a sub-folder: it reaches its module above the working directory.

variable "stage" {
  type = string
}

variable "replicas" {
  type = map(number)
}

variable "labels" {
  type    = list(string)
  default = []
}

variable "password" {
  type      = string
  sensitive = true
}

module "service" {
  source   = "../../modules/service"
  for_each = var.replicas

  name     = "${var.stage}-${each.key}"
  replicas = each.value
  labels   = var.labels
  password = var.password
}

output "services" {
  value = { for name, service in module.service : name => service.address }
}

output "password" {
  value     = var.password
  sensitive = true
}
