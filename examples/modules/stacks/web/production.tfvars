stage = "production"

replicas = {
  api    = 3
  static = 2
}
