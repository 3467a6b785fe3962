# A resolver with a zone of its own, which needs no server on the internet.

image "unbound" {
  packages = ["unbound"]
  without  = ["libpython3.11-stdlib"] # for modules in Python
  user     = "unbound"
  command  = ["/usr/sbin/unbound", "-d", "-p", "-c", "/etc/unbound/resolver.conf"]
}

service "unbound" {
  image = image.unbound

  port "dns" {
    container = 5353
    publish   = 5353
  }
  file "/etc/unbound/resolver.conf" {
    content = file("resolver.conf")
  }
  health {
    tcp {
      port = "dns"
    }
  }
  resources {
    cpu    = 0.25
    memory = "64MiB"
    pids   = 8
  }
}
