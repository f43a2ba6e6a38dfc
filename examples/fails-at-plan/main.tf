# The plan fails: the function says no, and nothing is created.

variable "settings" {
  type    = string
  default = "{ this is no JSON"
}

resource "terraform_data" "settings" {
  input = jsondecode(var.settings)
}
