# The plan succeeds, the apply fails half-way: the first resource exists and stays in the state.

resource "terraform_data" "first" {
  input = "created before the failure"
}

resource "terraform_data" "second" {
  depends_on = [terraform_data.first]

  provisioner "local-exec" {
    command = "echo 'the second resource says no' >&2; exit 3"
  }
}

output "first" {
  value = terraform_data.first.output
}
