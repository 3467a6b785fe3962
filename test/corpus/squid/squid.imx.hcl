# Squid as a forward proxy that caches in memory.

image "squid" {
  packages = ["squid"]
  without  = ["squid-langpack"] # error pages in 60 languages
  user     = "proxy"
  command  = ["/usr/sbin/squid", "--foreground", "-f", "/etc/squid/site.conf"]
}

service "squid" {
  image = image.squid

  port "proxy" {
    container = 3128
    publish   = 3128
  }
  file "/etc/squid/site.conf" {
    content = file("site.conf")
  }
  tmpfs "/run/squid" {
    size = "1MiB"
  }
  health {
    every = "500ms"
    tcp {
      port = "proxy"
    }
  }
  resources {
    cpu    = 0.5
    memory = "256MiB"
    pids   = 32
  }
}
