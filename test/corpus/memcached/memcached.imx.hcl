# memcached keeps nothing, so it needs nothing to write to.

image "memcached" {
  packages = ["memcached"]
  user     = "memcache"
  command  = ["/usr/bin/memcached", "-l", "0.0.0.0", "-m", "64", "-t", "2"]
}

service "memcached" {
  image = image.memcached

  port "memcached" {
    container = 11211
    publish   = 11211
  }
  health {
    every = "500ms"
    tcp {
      port = "memcached"
    }
  }
  resources {
    cpu    = 0.5
    memory = "96MiB"
    pids   = 16
  }
}
