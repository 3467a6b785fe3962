locals {
  zone = "UTC"
}

archive "debian" {
  suites = ["bookworm", "bookworm-updates", "bookworm-security"]
}

image "store" {
  from     = archive.debian
  packages = ["redis-server"]
  user     = "redis"
  command  = ["/usr/bin/redis-server", "/etc/store.conf"]
}

image "app" {
  from     = archive.debian
  packages = ["python3"]
  user     = "nobody"
  command  = ["/usr/bin/python3", "/srv/app.py"]

  file "/srv/app.py" {
    content = file("app.py")
  }
}

service "store" {
  image = image.store

  port "redis" {
    container = 6379
  }
  volume "data" {
    path  = "/var/lib/redis"
    owner = "redis"
  }
  file "/etc/store.conf" {
    content = templatefile("store.conf", { port = service.store.port.redis.number })
  }
}

service "app" {
  image    = image.app
  replicas = 2
  connect  = [service.store.port.redis] # everything else is denied
  environment = {
    TZ    = local.zone
    STORE = service.store.port.redis.address
  }

  port "http" {
    container = 8000
    publish   = 8080
  }
  health {
    every = "2s"
    http {
      port = "http"
      path = "/healthz"
    }
  }
  resources {
    cpu    = 0.5
    memory = "64MiB"
  }
}
