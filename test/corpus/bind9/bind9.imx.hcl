# A name server that has the authority for one zone.

image "bind9" {
  packages = ["bind9"]
  without  = ["bind9-utils"] # for its administration
  user     = "bind"
  command  = ["/usr/sbin/named", "-g", "-c", "/etc/bind/server.conf"]

  file "/etc/bind/shop.test" {
    content = file("shop.zone")
  }
}

service "bind9" {
  image = image.bind9

  port "dns" {
    container = 5353
    publish   = 5353
  }
  file "/etc/bind/server.conf" {
    content = file("server.conf")
  }
  tmpfs "/var/cache/bind" {
    size = "16MiB"
  }
  health {
    tcp {
      port = "dns"
    }
  }
  resources {
    cpu    = 0.25
    memory = "128MiB"
    pids   = 32
  }
}
