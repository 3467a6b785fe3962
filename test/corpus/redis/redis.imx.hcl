# Redis with a password and its data in a volume.

image "redis" {
  packages = ["redis"]
  user     = "redis"
  command  = ["/usr/bin/redis-server", "/etc/redis/store.conf"]
}

service "redis" {
  image = image.redis

  port "redis" {
    container = 6379
    publish   = 6379
  }
  file "/etc/redis/store.conf" {
    content = file("store.conf")
    mode    = "0400"
    owner   = "redis"
  }
  volume "data" {
    path = "/var/lib/redis"
  }
  health {
    every = "500ms"
    tcp {
      port = "redis"
    }
  }
  resources {
    cpu    = 0.5
    memory = "128MiB"
    pids   = 16
  }
}
