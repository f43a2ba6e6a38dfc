# The smallest run that does something: two resources that need no provider, and two outputs.

variable "name" {
  type    = string
  default = "world"
}

resource "terraform_data" "greeting" {
  input = "Hello, ${var.name}!"
}

resource "terraform_data" "length" {
  input = length(terraform_data.greeting.output)
}

output "greeting" {
  value = terraform_data.greeting.output
}

output "length" {
  value = terraform_data.length.output
}
