variable "name" {
  type = string
}

variable "replicas" {
  type = number

  validation {
    condition     = var.replicas > 0
    error_message = "A service needs at least one replica."
  }
}

variable "labels" {
  type = list(string)
}

variable "password" {
  type      = string
  sensitive = true
}

resource "terraform_data" "service" {
  input = {
    name     = var.name
    labels   = var.labels
    password = var.password
  }
}

resource "terraform_data" "replica" {
  count = var.replicas
  input = "${terraform_data.service.id}-${count.index}"
}

# Prints the password on purpose: the console must show asterisks in its place.
resource "terraform_data" "login" {
  triggers_replace = terraform_data.service.id

  provisioner "local-exec" {
    command = "echo \"logging in to ${var.name} with $PASSWORD\""
    environment = {
      PASSWORD = nonsensitive(var.password)
    }
  }
}

output "address" {
  value = "${var.name}.example.com"
}
