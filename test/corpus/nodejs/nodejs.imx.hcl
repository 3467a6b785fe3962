# An application for Node.js that needs nothing but Node.js itself.

image "nodejs" {
  packages = ["nodejs"]
  user     = "nobody"
  command  = ["/usr/bin/node", "/srv/app/shop.js"]

  file "/srv/app/shop.js" {
    content = file("shop.js")
  }
}

service "nodejs" {
  image = image.nodejs

  port "http" {
    container = 8000
    publish   = 8000
  }
  health {
    http {
      port = "http"
      path = "/healthz"
    }
  }
  resources {
    cpu    = 0.5
    memory = "128MiB"
    pids   = 32
  }
}
