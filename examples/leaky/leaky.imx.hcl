# What must not be: `imx check examples/leaky` shows the line and refuses it, and so does a server. The token
# is random and opens nothing.

image "bot" {
  packages = ["python3-minimal"]
  user     = "daemon"
  command  = ["/usr/bin/python3", "-c", "print('hello')"]

  environment = {
    LANG      = "C.UTF-8"
    API_TOKEN = "ghp_8fT2kQzX4vB6nM1cR7sW9yL3pD5hJ0gA2eKu"
  }
}

service "bot" {
  image = image.bot
}
